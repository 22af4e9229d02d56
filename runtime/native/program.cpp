#include "program.h"

namespace bitloom {

Program::Program(const Driver& driver, std::vector<Launch> launches)
    : driver_(driver), launches_(std::move(launches)) {}

void Program::run(CUstream stream) {
  if (launches_.empty()) return;
  if (hasRun_ && !graph_) capture(stream);
  if (graph_) {
    driver_.graphLaunch(graph_.get(), stream);
  } else {
    launchAll(stream);
  }
  hasRun_ = true;
}

void Program::launchAll(CUstream stream) {
  std::vector<void*> parameters;
  for (Launch& launch : launches_) {
    parameters.clear();
    for (std::uint64_t& argument : launch.arguments) parameters.push_back(&argument);
    const auto& [function, blockThreads] = launch.kernel;
    const auto& [x, y, z] = launch.grid;
    driver_.launchKernel(function, x, y, z, blockThreads, 1, 1, 0, stream, parameters.data(), nullptr);
  }
}

void Program::capture(CUstream stream) {
  driver_.streamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
  try {
    launchAll(stream);
  } catch (...) {
    // A stream left capturing takes no other work.
    CUgraph partial = nullptr;
    if (driver_.streamEndCapture.result(stream, &partial) == CUDA_SUCCESS) OwnedGraph(driver_, partial);
    throw;
  }
  CUgraph captured = nullptr;
  driver_.streamEndCapture(stream, &captured);
  const OwnedGraph graph(driver_, captured);
  graph_ = create<OwnedGraphExec>(driver_, driver_.graphInstantiate, graph.get(), 0ull);
}

}  // namespace bitloom
