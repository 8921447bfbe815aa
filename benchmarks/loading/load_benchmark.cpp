// How fast a checkpoint is read and packed, against memcpy in the same run, and what memory a rank
// takes for it beyond the packed weights. Makes a checkpoint of 1.2 GB and removes it.
//
// Rates are into memory that has been written before, like memcpy's. Memory of a virtual machine
// that the host supplies on first touch (0.6 GB/s where this was written) would drown both.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "benchmarks/loading/resident_memory.h"
#include "common/base/error.h"
#include "kernels/backend_registry.h"
#include "kernels/buffer.h"
#include "worker/make_model/make_model.h"
#include "worker/model/tensor_names.h"
#include "worker/runtime/loaded_model.h"
#include "worker/weights/safetensors_source.h"

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

/// Best of several copies between touched buffers in huge pages, one thread: bytes a second.
double memcpy_rate() {
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

// Reads the checkpoint once more, so that every load finds it in the page cache: some machines give
// cached files up within seconds.
void warm_files(const fs::path& model_dir) {
  std::vector<char> chunk(4 << 20);
  for (const fs::directory_entry& entry : fs::directory_iterator(model_dir)) {
    std::ifstream in(entry.path(), std::ios::binary);
    while (in.read(chunk.data(), static_cast<std::streamsize>(chunk.size()))) continue;
  }
}

struct Rates {
  double median = 0.0;
  double lowest = 0.0;
  double highest = 0.0;
};

Rates rates_of(std::vector<double> rates) {
  std::ranges::sort(rates);
  return {rates[rates.size() / 2], rates.front(), rates.back()};
}

void print_rates(const char* what, const Rates& rates, double floor) {
  std::printf("%-52s %6.2f GB/s (%.2f to %.2f)  floor %.2f  ratio %.2f\n", what, rates.median / 1e9,
              rates.lowest / 1e9, rates.highest / 1e9, floor / 1e9, rates.median / floor);
}

/// A matrix of the checkpoint, the columns that a rank reads, and where they are packed.
struct Target {
  TensorDeclaration tensor;
  IndexRange cols;
  std::unique_ptr<kernels::PackedMatrix> packed;
};

std::vector<Target> make_targets(const std::vector<TensorDeclaration>& tensors,
                                 kernels::Backend& backend,
                                 bool half_of_the_columns) {
  std::vector<Target> targets;
  for (const TensorDeclaration& tensor : tensors) {
    if (tensor.shape.size() != 2) continue;
    const std::int64_t cols = tensor.shape[1];
    const IndexRange range{half_of_the_columns ? cols / 2 : 0, cols};
    targets.push_back(
        {tensor, range, backend.create_packed({.rows = tensor.shape[0], .cols = range.size()})});
  }
  return targets;
}

// What load_weights() does, into matrices that are there.
std::int64_t pack_all(TensorSource& source,
                      std::span<const Target> targets,
                      kernels::Backend& backend) {
  std::int64_t bytes = 0;
  for (const Target& target : targets) {
    const auto pack = [&](std::int64_t first_row, const ConstMatrixView& part) {
      backend.pack_rows(*target.packed, first_row, part);
      bytes += part.rows * part.cols * size_of(part.dtype);
    };
    source.visit_matrix(target.tensor.name, {0, target.tensor.shape[0]}, target.cols, pack);
  }
  return bytes;
}

std::int64_t packed_bytes(const ModelWeights& weights) {
  std::int64_t bytes = weights.embedding_memory.num_bytes() + weights.lm_head->num_bytes();
  for (const LayerWeights& layer : weights.layers) {
    for (const auto* matrix : {&layer.qkv, &layer.o, &layer.mlp.gate_up, &layer.mlp.down}) {
      bytes += (*matrix)->num_bytes();
    }
  }
  return bytes;
}

Rates measure_packing(const fs::path& model_dir,
                      kernels::Backend& backend,
                      bool half_of_the_columns) {
  const std::vector<TensorDeclaration> tensors = declare_tensors(read_model_spec(model_dir));
  const std::vector<Target> targets = make_targets(tensors, backend, half_of_the_columns);
  std::vector<double> rates;
  for (int i = 0; i <= kRounds; ++i) {
    warm_files(model_dir);
    std::int64_t bytes = 0;
    const double seconds = seconds_of([&] {
      SafetensorsSource source(model_dir, tensors);
      bytes = pack_all(source, targets, backend);
    });
    if (i > 0) rates.push_back(static_cast<double>(bytes) / seconds);  // the first touches memory
  }
  return rates_of(rates);
}

/// What a rank that loads holds at most, beyond what it holds in the end.
void print_memory(const Options& options, const fs::path& model_dir, std::int32_t tp) {
  ModelExecutorOptions load;
  load.model_dir = model_dir;
  load.backend = options.backend;
  load.num_threads = options.threads;
  reset_peak_resident();
  const std::int64_t before = resident_bytes();
  const std::unique_ptr<LoadedModel> model = load_model(load, tp - 1, tp);
  const std::int64_t packed = packed_bytes(model->weights);
  std::printf("rank %d of %d: %.0f MB packed, peak resident set %.0f MB over it\n",
              static_cast<int>(tp - 1), static_cast<int>(tp), static_cast<double>(packed) / 1e6,
              static_cast<double>(peak_resident_bytes() - before - packed) / 1e6);
}

int run(int argc, char** argv) {
  Options options;
  CLI::App app("Loads a generated checkpoint; compares with memcpy of one thread.");
  app.add_option("--dir", options.directory, "Where 1.2 GB may be written")->capture_default_str();
  app.add_option("--backend", options.backend, "cpu or reference")->capture_default_str();
  app.add_option("--threads", options.threads, "Threads of the back end")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  const TemporaryModel model(options.directory);
  kernels::BackendOptions backend_options;
  backend_options.num_threads = options.threads;
  const auto backend = kernels::create_backend(options.backend, backend_options);
  const double floor = memcpy_rate();
  std::printf("%s, %d threads; files in the page cache; median (range) of %d; floor: memcpy\n",
              std::string(backend->device_name()).c_str(), static_cast<int>(options.threads),
              kRounds);
  print_rates("read and pack whole tensors", measure_packing(model.model_dir(), *backend, false),
              floor);
  print_rates("read and pack half of the columns",
              measure_packing(model.model_dir(), *backend, true), floor);
  for (const std::int32_t tp : {1, 2}) print_memory(options, model.model_dir(), tp);
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
