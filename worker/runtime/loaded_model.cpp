#include "worker/runtime/loaded_model.h"

#include <filesystem>
#include <fstream>
#include <iterator>

#include "common/base/error.h"
#include "kernels/backend_registry.h"
#include "worker/model/tensor_names.h"
#include "worker/weights/dummy_source.h"
#include "worker/weights/inventory_digest.h"
#include "worker/weights/safetensors_source.h"

namespace tessera {
namespace {

constexpr std::uint64_t kDummySeed = 1;

std::string read_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  TESSERA_REQUIRE(in.good(), path.string(), " cannot be read");
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

std::unique_ptr<TensorSource> open_source(const ModelExecutorOptions& options,
                                          const ModelSpec& spec) {
  const std::vector<TensorDeclaration> declarations = declare_tensors(spec);
  if (options.load_format == LoadFormat::kDummy) {
    return std::make_unique<DummySource>(declarations, kDummySeed);
  }
  return std::make_unique<SafetensorsSource>(options.model_dir, declarations, extra_tensors(spec));
}

}  // namespace

std::unique_ptr<LoadedModel> load_model(const ModelExecutorOptions& options,
                                        std::int32_t rank,
                                        std::int32_t tp) {
  auto model = std::make_unique<LoadedModel>();
  model->spec = read_model_spec(options.model_dir);
  model->shard = shard_of(model->spec, rank, tp, options.experts);
  model->backend =
      kernels::create_backend(options.backend, {.num_threads = options.num_threads,
                                                .cpus = options.cpus,
                                                .instruction_set = options.instruction_set,
                                                .device = options.device,
                                                .deterministic = options.deterministic});
  const std::unique_ptr<TensorSource> source = open_source(options, model->spec);
  model->weights =
      load_weights(model->spec, model->shard, *source, *model->backend, options.on_load_progress);
  const std::string config = read_file(std::filesystem::path(options.model_dir) / "config.json");
  model->digest = text_digest(config) + "-" + source->digest();
  return model;
}

}  // namespace tessera
