#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace tessera {

/// The safetensors files of a checkpoint.
struct CheckpointFiles {
  std::vector<std::filesystem::path> paths;  ///< Ascending by name.

  /// Tensor name -> file name of model.safetensors.index.json; empty without an index.
  std::map<std::string, std::string> weight_map;
};

/// Finds the files of a model directory: those that model.safetensors.index.json names; without an
/// index model.safetensors; else every *.safetensors. How shards are named does not matter.
/// @throws Error{kInvalidArgument} for a directory without any, and for an index that is not as it
///         should be or leads out of the directory.
CheckpointFiles find_checkpoint_files(const std::filesystem::path& model_dir);

}  // namespace tessera
