#include <gtest/gtest.h>

#include "tests/integration/model/served_ranks.h"
#include "tests/integration/model/trained_goldens.h"

namespace tessera {
namespace {

class TrainedGoldenTest : public ::testing::TestWithParam<std::string> {};

INSTANTIATE_TEST_SUITE_P(Files,
                         TrainedGoldenTest,
                         ::testing::ValuesIn(trained_golden_files()),
                         trained_golden_name);

// A coordinator's engine over one rank of the trained model decodes what the oracle decoded, all
// requests of the file side by side.
TEST_P(TrainedGoldenTest, IsDecodedTokenForToken) {
  const std::vector<Golden> goldens = selected_trained_goldens(GetParam());
  ASSERT_GE(goldens.size(), 6U);
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
