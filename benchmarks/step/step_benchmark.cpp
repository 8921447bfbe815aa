// Whole steps of a model of 0.6 B random parameters (Qwen3-shaped: 28 layers, tied embeddings), no
// measured rows, against the floors of its products on this machine, measured in the same run.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "benchmarks/step/step_floor.h"
#include "benchmarks/step/steps.h"
#include "common/base/error.h"
#include "worker/comm/shared_memory_exchange.h"
#include "worker/comm/single_communicator.h"
#include "worker/comm/slot_communicator.h"
#include "worker/runtime/model_executor.h"

namespace tessera::benchmarks {
namespace {

constexpr const char* kModel = "qwen3-0.6b";
constexpr std::int32_t kBlock = 32;
constexpr std::int32_t kContext = 512;
constexpr std::int32_t kMaxRows = 512;
constexpr std::int32_t kMaxSequences = kMaxRows / kBlock;

struct Options {
  std::int32_t tp = 1;
  std::int32_t threads = 2;  ///< Of the machine; divided by tp.
  std::string instruction_set;
};

std::unique_ptr<Communicator> join(const SharedRegion& region, std::int32_t rank, std::int32_t tp) {
  if (tp == 1) return std::make_unique<SingleCommunicator>();
  WaitOptions wait;
  wait.num_spins = 2000;
  return std::make_unique<SlotCommunicator>(std::make_unique<SharedMemoryExchange>(
      SharedRegion::open(region.path(), region.bytes()), rank, tp, wait));
}

/// The life of one rank. All ranks run the same steps, so that nothing else keeps them together.
std::vector<StepTimes> run_rank(const Options& options,
                                const std::string& model_dir,
                                const SharedRegion& region,
                                std::int32_t rank) {
  const std::int32_t threads = options.threads / options.tp;
  ModelExecutorOptions model;
  model.model_dir = model_dir;
  model.load_format = LoadFormat::kDummy;
  model.num_threads = threads;
  model.instruction_set = options.instruction_set;
  for (std::int32_t i = 0; i < threads; ++i) model.cpus.push_back(rank * threads + i);
  const auto executor = create_model_executor(model, join(region, rank, options.tp));
  Steps steps(kContext, /*measured=*/false);
  executor->configure(steps.config(kMaxSequences, kMaxRows));
  for (std::int32_t i = 0; i < kMaxSequences; ++i) executor->run(steps.prefill(i, 0, kContext));
  std::vector<StepTimes> times;
  for (const std::int32_t rows : {32, 128, 512}) {
    times.push_back(time_steps(*executor, steps, {rows / kBlock, kBlock, kContext},
                               std::clamp(1024 / rows, 5, 21)));
  }
  return times;
}

void print(const Options& options,
           const ModelSpec& spec,
           const std::vector<StepTimes>& times,
           const MachineLimits& limits) {
  std::printf("tp %d, %d threads: %.0f GFLOP/s bf16, %.1f GB/s read\n", options.tp, options.threads,
              limits.bfloat16_flops / 1e9, limits.read_bytes / 1e9);
  std::printf("%6s %9s %9s %9s %9s %11s %11s %7s\n", "rows", "rows/s", "median ms", "min ms",
              "max ms", "collect. ms", "floor ms", "ratio");
  for (const StepTimes& step : times) {
    const StepFloor floor = step_floor(spec, step.shape, limits);
    std::printf("%6lld %9.1f %9.1f %9.1f %9.1f %11.2f %5.1f+%5.1f %7.3f\n",
                static_cast<long long>(step.shape.num_rows()),
                static_cast<double>(step.shape.num_rows()) / step.median(), step.median() * 1e3,
                step.seconds.front() * 1e3, step.seconds.back() * 1e3,
                step.collective_seconds * 1e3, floor.gemm_seconds * 1e3,
                floor.attention_seconds * 1e3, step.median() / floor.total());
  }
}

void run(const Options& options) {
  TESSERA_REQUIRE(options.threads % options.tp == 0, "--threads = ", options.threads,
                  " must be a multiple of --tp = ", options.tp);
  const ModelDirectory model(kModel);
  const SharedRegion region =
      SharedRegion::create("tessera-step", SharedMemoryExchange::region_bytes(options.tp));
  std::vector<std::thread> others;
  for (std::int32_t rank = 1; rank < options.tp; ++rank) {
    others.emplace_back([&, rank] { run_rank(options, model.path(), region, rank); });
  }
  const std::vector<StepTimes> times = run_rank(options, model.path(), region, 0);
  for (std::thread& thread : others) thread.join();
  ThreadGroup threads(options.threads);
  print(options, read_model_spec(model.path()), times, measure_limits(threads));
}

}  // namespace
}  // namespace tessera::benchmarks

int main(int argc, char** argv) {
  tessera::benchmarks::Options options;
  CLI::App app("Whole steps of a 0.6 B model against the floors of their products");
  app.add_option("--tp", options.tp, "Ranks, as threads of this process")
      ->check(CLI::IsMember({1, 2, 4, 8}))
      ->capture_default_str();
  app.add_option("--threads", options.threads, "Compute threads of all ranks together")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--instruction-set", options.instruction_set, "avx512 or avx2; default: the best");
  CLI11_PARSE(app, argc, argv);
  try {
    tessera::benchmarks::run(options);
  } catch (const tessera::Error& error) {
    std::fprintf(stderr, "step_benchmark: %s\n", error.what());
    return 1;
  }
  return 0;
}
