"""What PyTorch does with the shapes of the command line on this card, as bench/cuda/records.ts has it.

python3 torch.py COPY_BYTES ROWS,... NxK ...
"""

import json
import statistics
import sys


def report(**finding):
    print(json.dumps(finding), flush=True)


def microseconds(torch, calls, repeat=25):
    """The median time of a call, over rounds of all of them."""
    for call in calls:
        call()
    times = []
    for _ in range(repeat):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for call in calls:
            call()
        end.record()
        end.synchronize()
        times.append(1000 * start.elapsed_time(end) / len(calls))
    return statistics.median(times)


def main():
    try:
        import torch
    except ImportError as error:
        return report(kind="note", text=f"no PyTorch to compare with: {error}")
    if not torch.cuda.is_available():
        return report(kind="note", text="PyTorch is here, but finds no card")
    copy_bytes = int(sys.argv[1])
    report(kind="note", text=f"PyTorch {torch.__version__}, CUDA {torch.version.cuda}")
    source = torch.randint(0, 255, (copy_bytes,), dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    copies = [lambda: target.copy_(source), lambda: source.copy_(target)] * 4
    report(kind="copy", by="PyTorch's copy_", bytesPerSecond=2e6 * copy_bytes / microseconds(torch, copies))
    del source, target, copies
    for rows in map(int, sys.argv[2].split(",")):
        for n, k in (map(int, shape.split("x")) for shape in sys.argv[3:]):
            bytes_ = [
                (
                    torch.randint(-127, 128, (rows, k), dtype=torch.int8, device="cuda"),
                    torch.randint(-1, 2, (n, k), dtype=torch.int8, device="cuda"),
                )
                for _ in range(4)
            ]
            floats = [(x.bfloat16(), w.bfloat16()) for x, w in bytes_]
            products = {
                "int_mm": [lambda x=x, w=w: torch._int_mm(x, w.t()) for x, w in bytes_],
                "linear_bf16": [lambda x=x, w=w: torch.nn.functional.linear(x, w) for x, w in floats],
            }
            for kind, calls in products.items():
                try:
                    report(kind=kind, rows=rows, n=n, k=k, microseconds=microseconds(torch, 4 * calls))
                except RuntimeError as error:
                    report(kind="note", text=f"{kind} of {rows} x {n} x {k}: {error}")


main()
