#include "worker/weights/checkpoint_inventory.h"

#include <utility>

#include "common/base/error.h"
#include "worker/weights/checkpoint_files.h"

namespace tessera {
namespace {

void add_file(const std::filesystem::path& path, CheckpointInventory& inventory) {
  auto file = std::make_unique<MappedFile>(path);
  for (SafetensorsEntry& entry : parse_safetensors_header(file->bytes(), path.string())) {
    const std::string name = entry.name;
    const auto [it, is_new] =
        inventory.tensors.try_emplace(name, std::move(entry), file.get(), path.string());
    TESSERA_REQUIRE(is_new, path.string(), ": tensor '", name, "' is also in ", it->second.path);
  }
  inventory.files.push_back(std::move(file));
}

void check_index(const std::filesystem::path& model_dir,
                 const std::map<std::string, std::string>& weight_map,
                 const CheckpointInventory& inventory) {
  for (const auto& [name, file] : weight_map) {
    const auto it = inventory.tensors.find(name);
    const std::string path = (model_dir / file).string();
    TESSERA_REQUIRE(it != inventory.tensors.end(), path, ": tensor '", name,
                    "' is missing, the index expects it here");
    TESSERA_REQUIRE(it->second.path == path, it->second.path, ": tensor '", name,
                    "' is here, the index expects it in ", path);
  }
  for (const auto& [name, tensor] : inventory.tensors) {
    TESSERA_REQUIRE(weight_map.contains(name), tensor.path, ": tensor '", name,
                    "' is not in model.safetensors.index.json");
  }
}

}  // namespace

CheckpointInventory open_checkpoint(const std::filesystem::path& model_dir) {
  const CheckpointFiles files = find_checkpoint_files(model_dir);
  CheckpointInventory inventory;
  for (const std::filesystem::path& path : files.paths) add_file(path, inventory);
  if (!files.weight_map.empty()) check_index(model_dir, files.weight_map, inventory);
  return inventory;
}

}  // namespace tessera
