#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "worker/weights/mapped_file.h"
#include "worker/weights/safetensors_header.h"

namespace tessera {

/// A tensor and the file that it is in.
struct LocatedTensor {
  SafetensorsEntry entry;
  MappedFile* file = nullptr;  ///< Of the inventory.
  std::string path;            ///< For errors.
};

/// Everything that the files of a checkpoint hold, by name.
struct CheckpointInventory {
  std::vector<std::unique_ptr<MappedFile>> files;
  std::map<std::string, LocatedTensor> tensors;
};

/// Maps the files of a model directory and reads their headers.
/// @throws Error{kInvalidArgument} for a broken file, a tensor that is in two files, and an index
///         that does not say what the files hold.
CheckpointInventory open_checkpoint(const std::filesystem::path& model_dir);

}  // namespace tessera
