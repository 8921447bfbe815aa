#include "tests/integration/model/trained_goldens.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "common/model_spec/families.h"
#include "tests/strategies/golden_decoding.h"

namespace tessera {

std::vector<Golden> selected_trained_goldens(const std::string& file) {
  constexpr std::size_t kSample = 6;
  const std::vector<Golden> all = read_goldens(trained_goldens_dir() + "/" + file);
  if (std::getenv("TESSERA_ALL_GOLDENS") != nullptr) return all;
  std::vector<Golden> sample;
  const std::size_t stride = std::max<std::size_t>(1, all.size() / kSample);
  for (std::size_t i = 0; i < all.size() && sample.size() < kSample; i += stride) {
    sample.push_back(all[i]);
  }
  return sample;
}

SequenceRequest request_of(const Golden& golden, RequestId id) {
  SequenceRequest request;
  request.id = id;
  request.prompt = golden.prompt;
  request.strategy = strategy_of(golden);
  request.sampling = golden.sampling();
  request.limits = golden.limits();
  return request;
}

std::vector<std::string> trained_golden_files() {
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(trained_goldens_dir())) {
    files.push_back(entry.path().filename());
  }
  std::sort(files.begin(), files.end());
  return files;
}

bool is_known_family(const std::string& model_dir) {
  const ConfigFields config(model_dir + "/config.json");
  const std::string architecture = config.strings("architectures").at(0);
  return std::ranges::any_of(model_families(), [&](const ModelFamily& family) {
    return family.architecture == architecture;
  });
}

std::string trained_golden_name(const ::testing::TestParamInfo<std::string>& tested) {
  std::string name = tested.param.substr(0, tested.param.find(".jsonl"));
  std::replace(name.begin(), name.end(), '.', '_');
  return name;
}

}  // namespace tessera
