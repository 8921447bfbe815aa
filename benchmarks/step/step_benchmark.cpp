// Whole steps of a model of 0.6 B random parameters (Qwen3-shaped: 28 layers, tied embeddings), no
// measured rows, against the floors of its products on this machine, measured in the same run.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "benchmarks/step/step_floor.h"
#include "common/base/error.h"
#include "worker/comm/shared_memory_exchange.h"
#include "worker/comm/single_communicator.h"
#include "worker/comm/slot_communicator.h"
#include "worker/runtime/model_executor.h"

namespace tessera::benchmarks {
namespace {

constexpr const char* kConfig = R"({
  "architectures": ["SDARForCausalLM"], "model_type": "sdar", "hidden_size": 1024,
  "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128,
  "intermediate_size": 3072, "vocab_size": 151936, "rope_theta": 1000000, "rms_norm_eps": 1e-6,
  "hidden_act": "silu", "attention_bias": false, "tie_word_embeddings": true,
  "max_position_embeddings": 32768, "eos_token_id": 151645, "mask_token_id": 151669})";
constexpr std::int32_t kPageSize = 32;
constexpr std::int32_t kBlock = 32;
constexpr std::int32_t kContext = 512;
constexpr std::int32_t kMaxRows = 512;
constexpr std::int32_t kMaxSequences = kMaxRows / kBlock;
constexpr std::int32_t kPagesEach = kContext / kPageSize;

struct Options {
  std::int32_t tp = 1;
  std::int32_t threads = 2;  ///< Of the machine; divided by tp.
  std::string instruction_set;
};

/// What one number of rows took.
struct StepTimes {
  StepShape shape;
  std::vector<double> seconds;      ///< Of each step, ascending.
  double collective_seconds = 0.0;  ///< Of the median step, on rank 0.

  double median() const { return seconds[seconds.size() / 2]; }
};

/// A directory with a config.json alone, removed at the end.
class ModelDirectory {
 public:
  ModelDirectory() {
    std::string name = "/tmp/tessera-step-XXXXXX";
    TESSERA_REQUIRE(mkdtemp(name.data()) != nullptr, "no directory can be made in /tmp");
    path_ = name;
    std::ofstream(path_ / "config.json") << kConfig;
  }
  ~ModelDirectory() {
    std::error_code ignored;  // a destructor
    std::filesystem::remove_all(path_, ignored);
  }
  ModelDirectory(const ModelDirectory&) = delete;
  ModelDirectory& operator=(const ModelDirectory&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// Steps of sequences whose contexts are cached once.
class Steps {
 public:
  /// Caches the context of sequence `index`.
  StepPlan prefill(std::int32_t index) {
    StepPlan plan = next();
    const auto request = static_cast<RequestId>(index) + 1;
    PageTableDelta delta{request, 0, {}};
    for (PageId page = 0; page < kPagesEach; ++page) {
      delta.pages.push_back(index * kPagesEach + page);
    }
    plan.page_table_deltas.push_back(std::move(delta));
    Span span = rows(0, kContext);
    span.stores = {{0, kContext}};
    plan.spans.push_back({request, std::move(span)});
    return plan;
  }

  StepPlan denoise(const StepShape& shape) {
    StepPlan plan = next();
    for (std::int32_t i = 0; i < shape.num_sequences; ++i) {
      Span span = rows(kContext, shape.rows_each);
      span.cache_len = kContext;
      plan.spans.push_back({static_cast<RequestId>(i) + 1, std::move(span)});
    }
    return plan;
  }

 private:
  StepPlan next() {
    StepPlan plan;
    plan.epoch = 1;
    plan.step = ++step_;
    return plan;
  }

  static Span rows(Position first, std::int32_t count) {
    Span span;
    span.first = first;
    span.mask_block = kBlock;
    for (std::int32_t i = 0; i < count; ++i) span.tokens.push_back((first + i) * 7919 % 151000);
    return span;
  }

  std::uint64_t step_ = 0;
};

std::unique_ptr<Communicator> join(const SharedRegion& region, std::int32_t rank, std::int32_t tp) {
  if (tp == 1) return std::make_unique<SingleCommunicator>();
  WaitOptions wait;
  wait.num_spins = 2000;
  return std::make_unique<SlotCommunicator>(std::make_unique<SharedMemoryExchange>(
      SharedRegion::open(region.path(), region.bytes()), rank, tp, wait));
}

StepTimes time_steps(RankExecutor& rank, Steps& steps, const StepShape& shape) {
  constexpr std::int32_t kWarmUp = 2;
  const std::int32_t count =
      std::clamp<std::int32_t>(1024 / static_cast<std::int32_t>(shape.num_rows()), 5, 21);
  std::vector<std::pair<double, double>> times;
  for (std::int32_t i = 0; i < kWarmUp + count; ++i) {
    const StepPlan plan = steps.denoise(shape);
    const auto begin = std::chrono::steady_clock::now();
    const StepResult result = rank.run(plan);
    const auto end = std::chrono::steady_clock::now();
    if (i < kWarmUp) continue;
    times.emplace_back(std::chrono::duration<double>(end - begin).count(),
                       result.timing.collective_seconds);
  }
  std::sort(times.begin(), times.end());
  StepTimes result{shape, {}, times[times.size() / 2].second};
  for (const auto& [seconds, collective] : times) result.seconds.push_back(seconds);
  return result;
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
  executor->configure({.page_size = kPageSize,
                       .num_pages = kMaxSequences * kPagesEach,
                       .max_step_rows = kMaxRows,
                       .max_model_len = kContext + kBlock,
                       .max_sequences = kMaxSequences});
  Steps steps;
  for (std::int32_t i = 0; i < kMaxSequences; ++i) executor->run(steps.prefill(i));
  std::vector<StepTimes> times;
  for (const std::int32_t rows : {32, 128, 512}) {
    times.push_back(time_steps(*executor, steps, {rows / kBlock, kBlock, kContext}));
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
  const ModelDirectory model;
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
