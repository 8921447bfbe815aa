#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "tests/worker/support/backend_options.h"
#include "tests/worker/support/fixture.h"
#include "tests/worker/support/logits_ranks.h"

namespace tessera {
namespace {

constexpr std::int32_t kPageSize = 8;

struct LogitsSetup {
  kernels::BackendCase backend;
  std::string model;
  std::string dtype;
  ExpertSharding experts = ExpertSharding::kByWidth;
  std::int32_t tp = 1;
};

std::string logits_case_name(const ::testing::TestParamInfo<LogitsSetup>& info) {
  const char* degree = info.param.experts == ExpertSharding::kByExpert ? "_ep" : "_tp";
  return name_of(info.param.backend) + "_" + info.param.model + "_" + info.param.dtype + degree +
         std::to_string(info.param.tp);
}

std::vector<LogitsSetup> logits_setups() {
  std::vector<LogitsSetup> setups;
  for (const kernels::BackendCase& backend : kernels::backend_cases()) {
    for (const char* model : {"sdar", "dream_reasoner", "stable_diffcoder", "dream", "fast_dllm_v2",
                              "llada", "sdar_moe", "llada2", "llada2_one_group"}) {
      for (const char* dtype : {"f32", "bf16"}) {
        const ModelSpec spec = read_model_spec(fixtures_dir() / model / dtype);
        for (const auto experts : {ExpertSharding::kByWidth, ExpertSharding::kByExpert}) {
          for (const std::int32_t tp : legal_tp_degrees(spec, experts)) {
            setups.push_back({backend, model, dtype, experts, tp});
          }
        }
      }
    }
  }
  return setups;
}

double cosine(const float* a, const float* b, std::int32_t count) {
  double ab = 0.0, aa = 0.0, bb = 0.0;
  for (std::int32_t i = 0; i < count; ++i) {
    ab += double{a[i]} * b[i];
    aa += double{a[i]} * a[i];
    bb += double{b[i]} * b[i];
  }
  return ab / std::sqrt(aa * bb);
}

class FixtureLogitsTest : public ::testing::TestWithParam<LogitsSetup> {
 protected:
  void SetUp() override {
    if (!can_run(GetParam().backend)) GTEST_SKIP() << missing_for(GetParam().backend);
    cases_ = read_fixture_cases(GetParam().model);
    ModelExecutorOptions options;
    options.model_dir = fixtures_dir() / GetParam().model / GetParam().dtype;
    options.experts = GetParam().experts;
    use_backend(GetParam().backend, options);
    ranks_.emplace(options, GetParam().tp, kPageSize);
  }

  // Rows [begin, end) of the case, over what is stored of the rows before them.
  static Span span_of(const FixtureCase& fixture, std::int32_t begin, std::int32_t end) {
    Span span;
    span.first = fixture.first + begin;
    span.tokens.assign(fixture.tokens.begin() + begin, fixture.tokens.begin() + end);
    span.cache_len = begin == 0 ? 0 : span.first;
    span.mask = fixture.mask;
    span.mask_block = fixture.mask_block;
    span.prompt_len = fixture.prompt_len;
    span.stores = {{span.first, span.end()}};
    return span;
  }

  void expect_rows(const FixtureCase& fixture,
                   std::int32_t begin,
                   const std::vector<float>& logits) const {
    SCOPED_TRACE(fixture.name + " from row " + std::to_string(begin));
    ASSERT_EQ(fixture.vocab_size, ranks_->spec().vocab_size);
    const std::int32_t vocab = fixture.vocab_size;
    const auto largest = [](float a, float b) { return std::abs(a) < std::abs(b); };
    const double scale =
        std::abs(*std::max_element(fixture.logits.begin(), fixture.logits.end(), largest));
    const auto rows = static_cast<std::int32_t>(logits.size()) / vocab;
    for (std::int32_t row = 0; row < rows; ++row) {
      const float* got = logits.data() + std::int64_t{row} * vocab;
      const float* want = fixture.row(begin + row);
      if (GetParam().backend.backend != "reference") {
        EXPECT_GE(cosine(got, want, vocab), kRowCosine) << "row " << begin + row;
        continue;
      }
      double worst = 0.0;
      for (std::int32_t i = 0; i < vocab; ++i) {
        worst = std::max(worst, std::abs(double{got[i]} - want[i]));
      }
      EXPECT_LE(worst, kFloatTolerance * scale) << "row " << begin + row;
      EXPECT_EQ(std::max_element(got, got + vocab) - got,
                std::max_element(want, want + vocab) - want);
    }
  }

  // Forwards the rows in pieces that end at the given rows, the first ones kept in the cache.
  void expect_in_pieces(const FixtureCase& fixture, const std::vector<std::int32_t>& ends) {
    ranks_->restart();
    std::int32_t begin = 0;
    for (const std::int32_t end : ends) {
      expect_rows(fixture, begin, ranks_->logits(span_of(fixture, begin, end)));
      begin = end;
    }
  }

  std::vector<FixtureCase> cases_;
  std::optional<LogitsRanks> ranks_;
};

INSTANTIATE_TEST_SUITE_P(Models,
                         FixtureLogitsTest,
                         ::testing::ValuesIn(logits_setups()),
                         logits_case_name);

TEST_P(FixtureLogitsTest, AWholePromptGivesTheOraclesLogits) {
  for (const FixtureCase& fixture : cases_) expect_in_pieces(fixture, {fixture.num_rows()});
}

// Row after row at multiples of what the mask allows; d2f's prompt cannot be cut.
TEST_P(FixtureLogitsTest, ChunksOverTheCacheGiveTheOraclesLogits) {
  std::int32_t num_chunked = 0;
  for (const FixtureCase& fixture : cases_) {
    if (fixture.mask == MaskKind::kFull) continue;
    std::vector<std::int32_t> ends;
    for (std::int32_t end = fixture.mask_block; end < fixture.num_rows();
         end += fixture.mask_block) {
      if (end >= fixture.prompt_len) ends.push_back(end);
    }
    ends.push_back(fixture.num_rows());
    num_chunked += static_cast<std::int32_t>(ends.size());
    expect_in_pieces(fixture, ends);
  }
  EXPECT_GT(num_chunked, 8);
}

// Rows that are stored first see themselves and their neighbours through the cache.
TEST_P(FixtureLogitsTest, CacheOnlyRowsSeeWhatABlockSees) {
  for (const FixtureCase& fixture : cases_) {
    const std::int32_t block = fixture.mask_block;
    if (fixture.mask != MaskKind::kBlockCausal || fixture.num_rows() <= block) continue;
    const std::int32_t last = (fixture.num_rows() - 1) / block * block;
    ranks_->restart();
    ranks_->logits(span_of(fixture, 0, last));
    Span span = span_of(fixture, last, fixture.num_rows());
    span.mask = MaskKind::kCacheOnly;
    span.cache_len = span.end();
    expect_rows(fixture, last, ranks_->logits(span));
  }
}

}  // namespace
}  // namespace tessera
