// How fast a rank loads its weights, against memcpy in the same run, and what memory that takes
// beyond the packed weights. Makes a checkpoint of 1.2 GB and removes it.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "benchmarks/loading/resident_memory.h"
#include "common/base/error.h"
#include "kernels/buffer.h"
#include "worker/make_model/make_model.h"
#include "worker/runtime/loaded_model.h"

namespace tessera::benchmarks {
namespace {

namespace fs = std::filesystem;

constexpr int kRounds = 5;

struct Options {
  std::string directory = "/tmp";
  std::string backend = "cpu";
  std::int32_t threads = 1;
};

template <typename Work>
double seconds_of(const Work& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// A checkpoint of its own, removed at the end.
class TemporaryModel {
 public:
  explicit TemporaryModel(const std::string& directory) {
    std::string name = directory + "/tessera-load-XXXXXX";
    TESSERA_REQUIRE(mkdtemp(name.data()) != nullptr, "no directory can be made in ", directory);
    path_ = name;
    MakeModelOptions options;
    options.output_dir = path_ / "model";
    options.tokenizer_dir = fs::path(TESSERA_SOURCE_DIR) / "deploy/models/tiny-sdar";
    for (const auto& [preset, shape] : model_presets()) {
      if (preset == "qwen3-0.6b") options.shape = shape;
    }
    make_model(options, {[](const ModelSummary&) {}, [](std::int64_t, std::int64_t) {}});
  }
  ~TemporaryModel() {
    std::error_code ignored;  // a destructor
    fs::remove_all(path_, ignored);
  }
  TemporaryModel(const TemporaryModel&) = delete;
  TemporaryModel& operator=(const TemporaryModel&) = delete;

  fs::path model_dir() const { return path_ / "model"; }

 private:
  fs::path path_;
};

/// Best of several copies between touched buffers in huge pages, one thread: bytes copied a second.
double memcpy_bytes_per_second() {
  constexpr std::int64_t kBytes = 512 << 20;
  const kernels::Buffer source(kBytes);
  const kernels::Buffer target(kBytes);
  std::memset(source.data(), 1, kBytes);
  std::memset(target.data(), 2, kBytes);
  double best = 1e9;
  for (int i = 0; i < kRounds; ++i) {
    best = std::min(best, seconds_of([&] { std::memcpy(target.data(), source.data(), kBytes); }));
  }
  return kBytes / best;
}

std::int64_t packed_bytes(const ModelWeights& weights) {
  std::int64_t bytes = weights.embedding_memory.num_bytes() + weights.lm_head->num_bytes();
  for (const LayerWeights& layer : weights.layers) {
    for (const auto* matrix : {&layer.qkv, &layer.o, &layer.gate_up, &layer.down}) {
      bytes += (*matrix)->num_bytes();
    }
  }
  return bytes;
}

void measure_rank(const Options& options,
                  const fs::path& model_dir,
                  std::int32_t rank,
                  std::int32_t tp,
                  double memcpy_rate) {
  ModelExecutorOptions load;
  load.model_dir = model_dir;
  load.backend = options.backend;
  load.num_threads = options.threads;
  std::int64_t read = 0;
  load.on_load_progress = [&](std::int64_t done, std::int64_t) { read = done; };
  std::vector<double> rates;
  std::int64_t packed = 0;
  std::int64_t excess = 0;
  for (int i = 0; i < kRounds; ++i) {
    const std::int64_t before = resident_bytes();
    reset_peak_resident();
    std::unique_ptr<LoadedModel> model;
    const double seconds = seconds_of([&] { model = load_model(load, rank, tp); });
    rates.push_back(static_cast<double>(read) / seconds);
    packed = packed_bytes(model->weights);
    excess = std::max(excess, peak_resident_bytes() - before - packed);
  }
  std::ranges::sort(rates);
  std::printf(
      "rank %d of %d  read %.2f GB  packed %.2f GB  %5.2f GB/s (%.2f to %.2f)  memcpy %5.2f"
      " GB/s  ratio %.2f  beyond packed %.0f MB\n",
      static_cast<int>(rank), static_cast<int>(tp), static_cast<double>(read) / 1e9,
      static_cast<double>(packed) / 1e9, rates[kRounds / 2] / 1e9, rates.front() / 1e9,
      rates.back() / 1e9, memcpy_rate / 1e9, rates[kRounds / 2] / memcpy_rate,
      static_cast<double>(excess) / 1e6);
}

int run(int argc, char** argv) {
  Options options;
  CLI::App app("Loads a generated checkpoint; compares with memcpy of one thread.");
  app.add_option("--dir", options.directory, "Where 1.2 GB may be written")->capture_default_str();
  app.add_option("--backend", options.backend, "cpu or reference")->capture_default_str();
  app.add_option("--threads", options.threads, "Threads of the back end")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  const TemporaryModel model(options.directory);
  const double memcpy_rate = memcpy_bytes_per_second();
  std::printf("back end %s, %d threads, files in the page cache, median of %d loads\n",
              options.backend.c_str(), static_cast<int>(options.threads), kRounds);
  measure_rank(options, model.model_dir(), 0, 1, memcpy_rate);
  measure_rank(options, model.model_dir(), 1, 2, memcpy_rate);
  return 0;
}

}  // namespace
}  // namespace tessera::benchmarks

int main(int argc, char** argv) {
  try {
    return tessera::benchmarks::run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "load_benchmark: %s\n", error.what());
    return 1;
  }
}
