#include <algorithm>

#include "tests/integration/model/served_ranks.h"
#include "tests/integration/model/trained_goldens.h"
#include "tests/worker/support/backend_options.h"

namespace tessera {
namespace {

constexpr double kLeastShare = 0.98;

class TrainedDecisionsTest : public ::testing::TestWithParam<std::string> {};

INSTANTIATE_TEST_SUITE_P(Files,
                         TrainedDecisionsTest,
                         ::testing::ValuesIn(trained_golden_files()),
                         trained_golden_name);

// In bf16 a close decision may fall the other way, and what follows is another text. Up to there,
// and for all but a few decisions, the text is the oracle's.
TEST_P(TrainedDecisionsTest, AreTheOraclesUpToTheFirstDivergence) {
  const std::vector<Golden> goldens = selected_trained_goldens(GetParam());
  for (const kernels::BackendCase& backend : kernels::backend_cases()) {
    if (!can_run(backend)) GTEST_SKIP() << missing_for(backend);
    SCOPED_TRACE(::testing::Message() << backend);
    ServedRanks::Options options;
    use_backend(backend, options.model);
    options.model.model_dir = checkpoint_dir(goldens.front().checkpoint);
    if (!is_known_family(options.model.model_dir)) {
      GTEST_SKIP() << options.model.model_dir << " is of a family that is not supported";
    }
    options.engine.max_step_rows = 1024;
    options.num_pages = 256;
    ServedRanks ranks(options);
    std::vector<SequenceRequest> requests;
    for (const Golden& golden : goldens) {
      requests.push_back(request_of(golden, requests.size() + 1));
    }
    auto served = ranks.serve(requests);
    std::ptrdiff_t num_equal = 0;
    std::ptrdiff_t num_diverged = 0;
    for (std::size_t i = 0; i < goldens.size(); ++i) {
      const std::vector<TokenId>& want = goldens[i].tokens;
      const std::vector<TokenId>& got = served[i + 1].tokens;
      const auto [at, other] = std::ranges::mismatch(want, got);
      num_equal += at - want.begin();
      if (at != want.end() || other != got.end()) ++num_diverged;
    }
    EXPECT_GE(static_cast<double>(num_equal),
              kLeastShare * static_cast<double>(num_equal + num_diverged));
    RecordProperty("equal", static_cast<int>(num_equal));
    RecordProperty("diverged", static_cast<int>(num_diverged));
  }
}

}  // namespace
}  // namespace tessera
