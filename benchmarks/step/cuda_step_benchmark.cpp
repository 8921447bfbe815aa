// Whole steps of a model with random weights on one GPU: embedding, layers, LM head and greedy
// measurement of all rows, over contexts that are cached. The floor is the larger of bytes (weights
// once, K and V) over copy bandwidth and operations over the rate of a large product, both measured
// in the same run.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <string>
#include <utility>

#include "benchmarks/kernels_cuda/reporter.h"
#include "benchmarks/step/steps.h"
#include "common/base/error.h"
#include "kernels/cuda/cuda_backend.h"
#include "worker/comm/single_communicator.h"
#include "worker/runtime/model_executor.h"

namespace tessera::benchmarks {
namespace {

struct Options {
  std::string model = "sdar-8b";
  std::int32_t context = 2048;
  std::int32_t max_sequences = 64;
  std::int32_t steps = 31;
  bool deterministic = false;
  bool eager = false;
};

double floor_seconds(const ModelSpec& spec, const StepShape& shape, const Ceilings& ceilings) {
  const auto rows = static_cast<double>(shape.num_rows());
  const double hidden = spec.hidden_size;
  double weights = static_cast<double>(spec.vocab_size) * hidden;
  double kv_bytes = 0.0;
  double attention = 0.0;
  const double keys = shape.context + shape.rows_each;
  for (std::int32_t layer = 0; layer < spec.num_layers; ++layer) {
    const double q = spec.q_size(spec.attention_of(layer));
    const double kv = spec.attention_of(layer).kv_size();
    weights += hidden * (2.0 * q + 2.0 * kv + 3.0 * spec.intermediate_size);
    kv_bytes += 2.0 * 2.0 * shape.num_sequences * keys * kv;
    attention += 4.0 * rows * keys * q;
  }
  return std::max((2.0 * weights + kv_bytes) / ceilings.bytes_per_second,
                  (2.0 * weights * rows + attention) / ceilings.flops_per_second);
}

void run(const Options& options) {
  const ModelDirectory model(options.model);
  Ceilings ceilings;
  {
    const auto backend = kernels::cuda::create_cuda_backend({});
    ceilings = measure_ceilings(*backend);
  }
  ModelExecutorOptions executor_options;
  executor_options.model_dir = model.path();
  executor_options.load_format = LoadFormat::kDummy;
  executor_options.backend = "cuda";
  executor_options.deterministic = options.deterministic;
  executor_options.eager = options.eager;
  const auto executor =
      create_model_executor(executor_options, std::make_unique<SingleCommunicator>());
  constexpr std::int32_t kChunk = 2048;
  Steps steps(options.context, /*measured=*/true);
  executor->configure(steps.config(options.max_sequences, kChunk));
  for (std::int32_t i = 0; i < options.max_sequences; ++i) {
    for (std::int32_t first = 0; first < options.context; first += kChunk) {
      executor->run(steps.prefill(i, first, std::min(kChunk, options.context - first)));
    }
  }
  std::printf(
      "%s, %s, %s, context %d: copy %.2f TB/s, bf16 product %.0f TFLOP/s; medians of %d steps\n\n",
      options.model.c_str(), executor->device_name().c_str(), options.eager ? "eager" : "graphs",
      options.context, ceilings.bytes_per_second * 1e-12, ceilings.flops_per_second * 1e-12,
      options.steps);
  std::printf(
      "| requests x rows | median ms | min | max | floor ms | floor / median |\n"
      "|---|---:|---:|---:|---:|---:|\n");
  const ModelSpec spec = read_model_spec(model.path());
  for (const auto& [requests, rows] : {std::pair{1, 32}, {1, 128}, {16, 32}, {64, 32}}) {
    if (requests > options.max_sequences) continue;
    const StepTimes times =
        time_steps(*executor, steps, {requests, rows, options.context}, options.steps);
    const double floor = floor_seconds(spec, times.shape, ceilings);
    std::printf("| %d x %d | %.3f | %.3f | %.3f | %.3f | %.2f |\n", requests, rows,
                times.median() * 1e3, times.seconds.front() * 1e3, times.seconds.back() * 1e3,
                floor * 1e3, floor / times.median());
    std::fflush(stdout);
  }
}

}  // namespace
}  // namespace tessera::benchmarks

int main(int argc, char** argv) {
  tessera::benchmarks::Options options;
  CLI::App app("Whole steps of a model with random weights on one GPU, beside their floors");
  app.add_option("--model", options.model, "A preset of tessera make-model")->capture_default_str();
  app.add_option("--context", options.context, "Cached positions of each request")
      ->check(CLI::Range(32, 1 << 17))
      ->capture_default_str();
  app.add_option("--max-sequences", options.max_sequences, "Requests whose contexts are cached")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_option("--steps", options.steps, "Steps of each shape")
      ->check(CLI::Range(1, 10000))
      ->capture_default_str();
  app.add_flag("--deterministic", options.deterministic, "As tessera-worker has it");
  app.add_flag("--eager", options.eager, "Likewise");
  CLI11_PARSE(app, argc, argv);
  try {
    tessera::benchmarks::run(options);
  } catch (const tessera::Error& error) {
    std::fprintf(stderr, "cuda_step_benchmark: %s\n", error.what());
    return 1;
  }
  return 0;
}
