"""
The step of bench/train-step.ts in PyTorch, `python bench/train-step.py [threads]`, to be run beside it: the same
shapes, BitNet's quantizers with the straight-through estimator, fused AdamW.
"""

import math
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

BATCH, LENGTH, VOCABULARY = 16, 128, 2048
HIDDEN, INTERMEDIATE, LAYERS, HEADS = 256, 688, 4, 8


def quantized_activations(x):
    scale = 127 / x.abs().amax(-1, keepdim=True).clamp_(min=1e-5)
    return (x * scale).round().clamp(-128, 127) / scale


def quantized_weights(w):
    scale = 1 / w.abs().mean().clamp_(min=1e-5)
    return (w * scale).round().clamp(-1, 1) / scale


class BitLinear(nn.Linear):
    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs, bias=False)

    def forward(self, x):
        x = x + (quantized_activations(x) - x).detach()
        w = self.weight + (quantized_weights(self.weight) - self.weight).detach()
        return F.linear(x, w)


def rotate(x, cos, sin):
    a, b = x.chunk(2, -1)
    return x * cos + torch.cat((-b, a), -1) * sin


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.q, self.k, self.v, self.o = (BitLinear(HIDDEN, HIDDEN) for _ in range(4))
        self.gate, self.up = (BitLinear(HIDDEN, INTERMEDIATE) for _ in range(2))
        self.down = BitLinear(INTERMEDIATE, HIDDEN)
        self.input_norm, self.attention_norm, self.mlp_norm = (nn.RMSNorm(HIDDEN, 1e-5) for _ in range(3))
        self.down_norm = nn.RMSNorm(INTERMEDIATE, 1e-5)

    def forward(self, x, cos, sin):
        h = self.input_norm(x)
        q, k, v = (f(h).view(BATCH, LENGTH, HEADS, -1).transpose(1, 2) for f in (self.q, self.k, self.v))
        y = F.scaled_dot_product_attention(rotate(q, cos, sin), rotate(k, cos, sin), v, is_causal=True)
        x = x + self.o(self.attention_norm(y.transpose(1, 2).reshape(BATCH, LENGTH, HIDDEN)))
        h = self.mlp_norm(x)
        return x + self.down(self.down_norm(F.relu(self.gate(h)).square() * self.up(h)))


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, HIDDEN)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.norm = nn.RMSNorm(HIDDEN, 1e-5)
        dim = HIDDEN // HEADS
        frequencies = 10_000 ** (-torch.arange(0, dim, 2) / dim)
        angles = torch.outer(torch.arange(LENGTH), frequencies).repeat(1, 2)
        self.cos, self.sin = angles.cos(), angles.sin()

    def forward(self, tokens):
        x = self.embedding(tokens)
        for layer in self.layers:
            x = layer(x, self.cos, self.sin)
        return F.linear(self.norm(x), self.embedding.weight)


torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else 2)
torch.manual_seed(1)
model = Model()
for parameter in model.parameters():
    if parameter.dim() == 2:
        nn.init.normal_(parameter, std=0.02)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
tokens, targets = torch.randint(VOCABULARY, (2, BATCH, LENGTH))
times = []
for step in range(20):
    start = time.perf_counter()
    optimizer.zero_grad()
    loss = F.cross_entropy(model(tokens).view(-1, VOCABULARY), targets.view(-1))
    loss.backward()
    optimizer.step()
    times.append(time.perf_counter() - start)
parameters = sum(p.numel() for p in model.parameters()) / 1e6
step = min(times)
print(
    f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads, {parameters:.2f} M parameters: "
    f"{1000 * step:.0f} ms a step, {BATCH * LENGTH / step:.0f} tokens/s"
)
