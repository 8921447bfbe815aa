#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "common/model_spec/families.h"
#include "tests/integration/model/served_ranks.h"
#include "tests/strategies/golden_decoding.h"

namespace tessera {
namespace {

constexpr std::size_t kSample = 6;  // requests of a file, spread evenly

// TESSERA_ALL_GOLDENS=1 replays every request: tests/golden/README.md.
std::vector<Golden> selected_goldens(const std::string& file) {
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

std::vector<std::string> golden_files() {
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(trained_goldens_dir())) {
    files.push_back(entry.path().filename());
  }
  std::sort(files.begin(), files.end());
  return files;
}

// Sets of goldens may hold families that this build does not have.
bool is_known_family(const std::string& model_dir) {
  const ConfigFields config(model_dir + "/config.json");
  const std::string architecture = config.strings("architectures").at(0);
  return std::ranges::any_of(model_families(), [&](const ModelFamily& family) {
    return family.architecture == architecture;
  });
}

std::string case_name(const ::testing::TestParamInfo<std::string>& tested) {
  std::string name = tested.param.substr(0, tested.param.find(".jsonl"));
  std::replace(name.begin(), name.end(), '.', '_');
  return name;
}

class TrainedGoldenTest : public ::testing::TestWithParam<std::string> {};

INSTANTIATE_TEST_SUITE_P(Files, TrainedGoldenTest, ::testing::ValuesIn(golden_files()), case_name);

// A coordinator's engine over one rank of the trained model decodes what the oracle decoded, all
// requests of the file side by side.
TEST_P(TrainedGoldenTest, IsDecodedTokenForToken) {
  const std::vector<Golden> goldens = selected_goldens(GetParam());
  ASSERT_GE(goldens.size(), kSample);
  ServedRanks::Options options;
  options.model.model_dir = checkpoint_dir(goldens.front().checkpoint);
  if (!is_known_family(options.model.model_dir)) {
    GTEST_SKIP() << options.model.model_dir << " is of a family that is not supported";
  }
  options.model.backend = "reference";
  options.engine.max_step_rows = 1024;
  options.num_pages = 256;
  ServedRanks ranks(options);
  std::vector<SequenceRequest> requests;
  for (const Golden& golden : goldens) requests.push_back(request_of(golden, requests.size() + 1));
  auto served = ranks.serve(requests);
  for (std::size_t i = 0; i < goldens.size(); ++i) {
    const Golden& golden = goldens[i];
    SCOPED_TRACE(golden.id);
    const ServedSequence& sequence = served[i + 1];
    ASSERT_TRUE(sequence.last.finish.has_value());
    EXPECT_EQ(sequence.tokens, golden.tokens);
    EXPECT_EQ(name_of(*sequence.last.finish), golden.finish_reason);
    EXPECT_EQ(sequence.last.usage.num_steps, golden.num_steps);
    EXPECT_EQ(sequence.last.usage.num_steps - sequence.last.usage.num_store_only_steps,
              golden.num_measured_steps);
  }
}

}  // namespace
}  // namespace tessera
