#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "common/model_spec/sharding.h"
#include "strategies/strategy_registry.h"
#include "tests/integration/model/served_ranks.h"
#include "tests/worker/support/backend_options.h"
#include "tests/worker/support/fixture.h"

namespace tessera {
namespace {

constexpr std::int32_t kNumRequests = 64;
constexpr std::int32_t kPlentyOfRows = 1024;
constexpr std::int32_t kPlentyOfPages = 1024;

/// How requests are served. What must not matter to any of them.
struct Serving {
  std::int32_t page_size = 32;
  std::int32_t max_step_rows = kPlentyOfRows;
  std::int32_t num_pages = kPlentyOfPages;
  std::int32_t tp = 1;
  std::int32_t num_threads = 1;
  bool prefix_cache = false;
};

struct Setup {
  kernels::BackendCase backend;
  std::string model;
  ExpertSharding experts = ExpertSharding::kByWidth;
};

std::vector<Setup> setups() {
  std::vector<Setup> setups;
  for (const kernels::BackendCase& backend : kernels::backend_cases()) {
    // its default mode gives equal bits for equal batches only
    if (backend.backend == "cuda" && backend.instruction_set != "deterministic") continue;
    // QK-norm; biases and shifted rows; padded intermediate dimension; groups of experts; layers
    // of two kinds, canvases and what conditions them
    for (const char* model : {"sdar", "dream", "llada", "sdar_moe", "diffusion_gemma"}) {
      // fp64 loops are slow, and what is promised is promised for `cpu`
      if (backend.backend == "reference" && model != std::string("sdar")) continue;
      setups.push_back({backend, model});
    }
    if (backend.backend != "reference") {
      for (const char* model : {"sdar_moe", "diffusion_gemma"}) {
        setups.push_back({backend, model, ExpertSharding::kByExpert});
      }
    }
  }
  return setups;
}

std::string case_name(const ::testing::TestParamInfo<Setup>& tested) {
  const char* mode = tested.param.experts == ExpertSharding::kByExpert ? "_by_expert" : "";
  return name_of(tested.param.backend) + "_" + tested.param.model + mode;
}

/// Requests of every strategy that decodes the model: prompts that share beginnings, greedy and
/// sampled, filtered or not.
class RandomTraffic {
 public:
  RandomTraffic(const ModelFacts& facts, std::uint32_t seed) : facts_(facts), rng_(seed) {}

  std::vector<SequenceRequest> requests(std::int32_t count) {
    std::vector<SequenceRequest> requests;
    for (std::int32_t i = 0; i < count; ++i) {
      SequenceRequest request;
      request.id = static_cast<RequestId>(i) + 1;
      request.prompt = random_prompt();
      request.strategy = random_strategy();
      request.sampling.seed = draw(1000);
      if (draw(2) == 0) {
        request.sampling.temperature = 0.8F;
        request.sampling.top_p = draw(2) == 0 ? 1.0F : 0.7F;
        request.sampling.top_k = draw(2) == 0 ? 0 : 5;
      }
      request.limits.max_tokens = 4 + static_cast<std::int32_t>(draw(40));
      request.limits.max_model_len = 512;
      request.limits.eos_ids = facts_.eos_ids;
      requests.push_back(std::move(request));
    }
    return requests;
  }

 private:
  std::uint32_t draw(std::uint32_t bound) { return rng_() % bound; }

  TokenId random_token() {
    return static_cast<TokenId>(
        draw(static_cast<std::uint32_t>(facts_.mask_id.value_or(facts_.tokenizer_size))));
  }

  std::vector<TokenId> random_prompt() {
    std::vector<TokenId> prompt(draw(3) * 8, 5);
    for (std::uint32_t i = 1 + draw(16); i > 0; --i) prompt.push_back(random_token());
    return prompt;
  }

  std::unique_ptr<const Strategy> random_strategy() {
    const auto registry = strategy_registry();
    const StrategyEntry* entry = nullptr;
    do {
      entry = &registry[draw(static_cast<std::uint32_t>(registry.size()))];
    } while (!entry->refusal(facts_).empty());
    OptionValues options{{"block_size", std::int64_t{2} << draw(3)},
                         {"buffer_size", std::int64_t{2 + draw(3)}},
                         {"accept_threshold", 0.02 * draw(10)},
                         {"max_post_edit_steps", std::int64_t{4}},
                         {"max_denoising_steps", std::int64_t{2 + draw(5)}},
                         {"entropy_bound", 4.0 * draw(6)}};
    std::erase_if(options, [&](const auto& option) {
      return std::ranges::find(entry->options, option.first, &OptionSpec::name) ==
             entry->options.end();
    });
    return create_strategy(entry->name, facts_, options);
  }

  ModelFacts facts_;
  std::mt19937 rng_;
};

class InvarianceTest : public ::testing::TestWithParam<Setup> {
 protected:
  void SetUp() override {
    if (!can_run(GetParam().backend)) GTEST_SKIP() << missing_for(GetParam().backend);
    model_dir_ = fixtures_dir() / GetParam().model / "bf16";
    spec_ = read_model_spec(model_dir_);
    ModelFacts facts = facts_of(spec_);
    facts.block_size.reset();  // random weights take any block and any strategy
    facts.attention.reset();
    requests_ = RandomTraffic(facts, /*seed=*/23).requests(kNumRequests);
    static std::map<std::string, std::map<RequestId, ServedSequence>> all_alone;
    const std::string mode = GetParam().experts == ExpertSharding::kByExpert ? " by expert " : " ";
    // the same for every test
    auto& alone = all_alone[name_of(GetParam().backend) + mode + model_dir_];
    if (alone.empty()) alone = serve_each_alone();
    alone_ = &alone;
  }

  ServedRanks ranks_for(const Serving& serving) const {
    ServedRanks::Options options;
    options.model.model_dir = model_dir_;
    options.model.experts = GetParam().experts;
    use_backend(GetParam().backend, options.model);
    options.model.num_threads = serving.num_threads;
    options.tp = serving.tp;
    options.num_pages = serving.num_pages;
    options.engine.page_size = serving.page_size;
    options.engine.max_step_rows = serving.max_step_rows;
    options.engine.prefix_cache = serving.prefix_cache;
    options.engine.max_running_requests = kNumRequests;
    options.engine.vocab_size = spec_.vocab_size;
    return ServedRanks(options);
  }

  std::map<RequestId, ServedSequence> serve_each_alone() const {
    ServedRanks ranks = ranks_for({});
    std::map<RequestId, ServedSequence> served;
    for (const SequenceRequest& request : requests_) served.merge(ranks.serve({request}));
    return served;
  }

  // Tokens and measurements, bit for bit.
  void expect_as_alone(ServedRanks& ranks, std::int32_t first_loss = 0) {
    auto together = ranks.serve(requests_, first_loss);
    for (const SequenceRequest& request : requests_) {
      SCOPED_TRACE(::testing::Message() << "request " << request.id);
      const ServedSequence& expected = alone_->at(request.id);
      const ServedSequence& got = together.at(request.id);
      ASSERT_TRUE(got.last.finish.has_value())
          << (got.last.failure ? got.last.failure->message : "");
      EXPECT_EQ(got.last.finish, expected.last.finish);
      EXPECT_EQ(got.tokens, expected.tokens);
      ASSERT_EQ(got.measurements, expected.measurements);
    }
  }

  std::string model_dir_;
  ModelSpec spec_;
  std::vector<SequenceRequest> requests_;
  const std::map<RequestId, ServedSequence>* alone_ = nullptr;
};

INSTANTIATE_TEST_SUITE_P(Models, InvarianceTest, ::testing::ValuesIn(setups()), case_name);

TEST_P(InvarianceTest, ARequestAmongOthersGetsWhatItGetsAlone) {
  for (const std::int32_t page_size : {16, 32, 64}) {
    SCOPED_TRACE(::testing::Message() << "pages of " << page_size);
    ServedRanks ranks = ranks_for({.page_size = page_size});
    expect_as_alone(ranks);
  }
}

TEST_P(InvarianceTest, NeitherPreemptionNorChunksNorSharedPagesMatter) {
  std::uint64_t num_preemptions = 0;
  for (const std::int32_t max_step_rows : {64, 400}) {
    SCOPED_TRACE(::testing::Message() << "steps of " << max_step_rows << " rows");
    ServedRanks ranks = ranks_for(
        {.page_size = 8, .max_step_rows = max_step_rows, .num_pages = 18, .prefix_cache = true});
    expect_as_alone(ranks);
    EXPECT_GT(ranks.stats().prefix_hit_tokens, 0U);
    num_preemptions += ranks.stats().preemptions;
  }
  EXPECT_GT(num_preemptions, 0U) << "the pool is not small enough to be a test";
}

TEST_P(InvarianceTest, TheNumberOfRanksDoesNotMatter) {
  for (const std::int32_t tp : legal_tp_degrees(spec_, GetParam().experts)) {
    if (tp == 1) continue;
    SCOPED_TRACE(::testing::Message() << tp << " ranks");
    ServedRanks ranks = ranks_for({.tp = tp});
    expect_as_alone(ranks);
  }
}

TEST_P(InvarianceTest, TheNumberOfThreadsDoesNotMatter) {
  ServedRanks ranks = ranks_for({.num_threads = 2});
  expect_as_alone(ranks);
}

// Whatever lies on the ranks, pages, stale rows of a dual cache or what conditions a canvas, is
// made again from the state of the coordinator.
TEST_P(InvarianceTest, RanksLostAgainAndAgainChangeNothing) {
  ServedRanks ranks = ranks_for({.tp = 2});
  expect_as_alone(ranks, /*first_loss=*/3);
}

}  // namespace
}  // namespace tessera
