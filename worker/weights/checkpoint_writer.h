#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <vector>

#include "common/tensor/dtype.h"
#include "worker/weights/tensor_source.h"

namespace tessera {

/// How a checkpoint is written.
struct CheckpointFormat {
  DType dtype = DType::kBFloat16;                        ///< Or kFloat32; of every tensor.
  std::int64_t max_shard_bytes = std::int64_t{4} << 30;  ///< Of tensor data; a larger tensor is a
                                                         ///< shard of its own.
};

/// Bytes of tensor data that write_checkpoint writes.
std::int64_t checkpoint_bytes(const std::vector<TensorDeclaration>& declarations, DType dtype);

/// Writes the declared tensors, all of them, the way Hugging Face publishes checkpoints:
/// model.safetensors, or model-00001-of-0000N.safetensors and model.safetensors.index.json.
/// @param model_dir    Exists; files of these names are overwritten.
/// @param on_progress  Called with (bytes written, bytes in all), every few MB.
/// @throws Error{kDevice} naming the file if the disk is full or fails.
void write_checkpoint(const std::filesystem::path& model_dir,
                      const std::vector<TensorDeclaration>& declarations,
                      TensorSource& source,
                      const CheckpointFormat& format,
                      const std::function<void(std::int64_t, std::int64_t)>& on_progress);

}  // namespace tessera
