#include "worker/weights/checkpoint_files.h"

#include <algorithm>
#include <set>

#include "common/base/error.h"
#include "common/model_spec/config_fields.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

bool is_plain_file_name(const std::string& name) {
  return !name.empty() && name != "." && name != ".." &&
         name.find_first_of(std::string("/\\\0", 3)) == std::string::npos;
}

CheckpointFiles read_index(const fs::path& model_dir, const fs::path& index) {
  const ConfigFields fields(index);
  const nlohmann::json& weight_map = fields.raw("weight_map");
  TESSERA_REQUIRE(weight_map.is_object() && !weight_map.empty(), fields.file(),
                  ": weight_map must be an object with at least one tensor");
  CheckpointFiles files;
  std::set<std::string> names;
  for (const auto& [tensor, file] : weight_map.items()) {
    TESSERA_REQUIRE(file.is_string() && is_plain_file_name(file.get<std::string>()), fields.file(),
                    ": tensor '", tensor, "' must be in a file of this directory, found ",
                    file.dump());
    files.weight_map[tensor] = file.get<std::string>();
    names.insert(file.get<std::string>());
  }
  for (const std::string& name : names) files.paths.push_back(model_dir / name);
  return files;
}

}  // namespace

CheckpointFiles find_checkpoint_files(const fs::path& model_dir) {
  TESSERA_REQUIRE(fs::is_directory(model_dir), model_dir.string(), ": is not a directory");
  const fs::path index = model_dir / "model.safetensors.index.json";
  if (fs::exists(index)) return read_index(model_dir, index);
  const fs::path single = model_dir / "model.safetensors";
  if (fs::exists(single)) return {{single}, {}};
  CheckpointFiles files;
  for (const fs::directory_entry& entry : fs::directory_iterator(model_dir)) {
    if (entry.path().extension() == ".safetensors") files.paths.push_back(entry.path());
  }
  TESSERA_REQUIRE(!files.paths.empty(), model_dir.string(),
                  ": holds neither model.safetensors nor any other *.safetensors");
  std::ranges::sort(files.paths);
  return files;
}

}  // namespace tessera
