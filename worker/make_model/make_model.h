#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>

#include "common/tensor/dtype.h"
#include "worker/make_model/model_shape.h"

namespace tessera {

/// What to make.
struct MakeModelOptions {
  std::filesystem::path output_dir;

  /// Copied as it is. Empty: config.json is made from `shape` and the tokenizer's token ids.
  std::filesystem::path config_file;
  ModelShape shape;

  std::filesystem::path tokenizer_dir;
  bool pad_vocabulary = false;  ///< See pad_tokenizer.

  DType dtype = DType::kBFloat16;  ///< Or kFloat32: the same values.
  std::uint64_t seed = 0;          ///< Of DummySource.
  std::int64_t max_shard_bytes = std::int64_t{4} << 30;
  bool replace = false;  ///< An existing model directory is removed first.
};

/// What is about to be written.
struct ModelSummary {
  std::string family;
  std::int64_t num_parameters = 0;
  std::int64_t num_bytes = 0;  ///< Of the weights.
};

/// Told by make_model what goes on; both are called from the calling thread.
struct MakeModelEvents {
  std::function<void(const ModelSummary&)> on_start;
  std::function<void(std::int64_t, std::int64_t)> on_progress;  ///< Bytes written, bytes in all.
};

/// Writes a model with the weights of DummySource: config.json, generation_config.json, tokenizer
/// and safetensors. Works in OUTPUT_DIR.partial, which becomes OUTPUT_DIR when all is written.
///
/// @throws Error{kInvalidArgument} if config.json does not describe a model that can be served, the
///         directory exists (or `replace` would remove something that is no model), or the disk has
///         not enough room; Error{kDevice} if writing fails.
void make_model(const MakeModelOptions& options, const MakeModelEvents& events);

}  // namespace tessera
