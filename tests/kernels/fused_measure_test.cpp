#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstring>
#include <random>

#include "kernels/measure_row.h"
#include "kernels/partition.h"
#include "tests/kernels/backend_fixture.h"
#include "tests/support/error_matchers.h"

namespace tessera::kernels {
namespace {

// Large enough that a leaf is cut into several chunks of panels, with a ragged end.
constexpr std::int32_t kVocabSize = 9100;
constexpr std::int32_t kTokenizerSize = 9050;
constexpr std::int32_t kHidden = 16;
constexpr std::int32_t kNumRows = 40;
constexpr TokenId kMaskId = 1234;

std::vector<Measure> all_kinds() {
  std::mt19937 rng(/*seed=*/23);
  const float temperatures[] = {0.0F, 1.0F, 0.6F, 2.5F, 1e-3F, 1e-40F, 30.0F};
  std::vector<Measure> measures;
  for (int i = 0; i < kNumRows; ++i) {
    Measure m;
    m.position = i;
    m.denoising_step = i % 3;
    m.seed = (std::uint64_t{rng()} << 32) | rng();
    m.kind = static_cast<MeasureKind>(i % 3);
    m.temperature = m.kind == MeasureKind::kGreedy ? 0.0F : temperatures[i % 7];
    if (i % 4 == 0) {
      m.penalised_id = i * 200;
      m.penalty = i % 8 == 0 ? std::numeric_limits<float>::infinity() : 1.5F;
    }
    measures.push_back(m);
  }
  return measures;
}

bool same_bits(const MeasurePartial& a, const MeasurePartial& b) {
  return std::memcmp(&a, &b, sizeof a) == 0;
}

class FusedMeasureTest : public BackendTest {
 protected:
  void SetUp() override {
    BackendTest::SetUp();
    if (IsSkipped()) return;
    hidden_ = TypedMatrix(activation(), random_matrix(kNumRows, kHidden, 31));
    weights_ = TypedMatrix(activation(), random_matrix(kVocabSize, kHidden, 32));
    // Equal logits far apart: rows of one leaf, of the next chunk, of another leaf.
    for (const std::int64_t id : {70, 1100, 5000}) {
      for (std::int64_t k = 0; k < kHidden; ++k) weights_.set(id, k, 3 * hidden_.at(0, k));
    }
  }

  static VocabularyShard vocabulary(std::int32_t rank, std::int32_t ranks) {
    const auto rows = padded_vocabulary(kVocabSize) / ranks;
    return {static_cast<TokenId>(rank * rows), kTokenizerSize, kMaskId};
  }

  std::unique_ptr<PackedMatrix> shard(Backend& backend, std::int32_t rank, std::int32_t ranks) {
    const std::int64_t rows = padded_vocabulary(kVocabSize) / ranks;
    auto packed = backend.create_packed({rows, kHidden, 1, kNumLeaves / ranks});
    ConstMatrixView part = weights_.view();
    part.data = weights_.view().row(rank * rows);
    part.rows = std::clamp<std::int64_t>(kVocabSize - rank * rows, 0, rows);
    backend.pack_rows(*packed, 0, part);
    return packed;
  }

  // Measures rows [first, first + count) on one rank.
  std::vector<MeasurePartial> measure(Backend& backend,
                                      std::span<const Measure> measures,
                                      std::int64_t first,
                                      std::int32_t rank,
                                      std::int32_t ranks) {
    const auto head = shard(backend, rank, ranks);
    const auto count = static_cast<std::int64_t>(measures.size());
    ConstMatrixView rows = hidden_.view();
    rows.data = hidden_.view().row(first);
    rows.rows = count;
    std::vector<std::byte> workspace(
        static_cast<std::size_t>(backend.measure_workspace_bytes(*head, count)), std::byte{0xFF});
    std::vector<MeasurePartial> partials(measures.size());
    backend.measure(rows, *head, vocabulary(rank, ranks), measures, workspace, partials);
    return partials;
  }

  TypedMatrix hidden_{DType::kFloat32, 0, 0};
  TypedMatrix weights_{DType::kFloat32, 0, 0};
};

TESSERA_FOR_EVERY_BACKEND(FusedMeasureTest);

TEST_P(FusedMeasureTest, AgreesWithTheMeasurementOfItsLogits) {
  const auto measures = all_kinds();
  const auto got = measure(*backend_, measures, 0, 0, 1);
  const auto head = shard(*backend_, 0, 1);
  Matrix logits(kNumRows, head->shape().rows);
  backend_->logits(hidden_.view(), *head, vocabulary(0, 1), measures, logits.view());
  EXPECT_TRUE(logits.padding_untouched());
  for (std::size_t i = 0; i < measures.size(); ++i) {
    SCOPED_TRACE(::testing::Message() << "row " << i << " temperature " << measures[i].temperature);
    const auto row = static_cast<std::int64_t>(i);
    const std::span<const float> values(&logits.at(row, 0), static_cast<std::size_t>(logits.cols));
    ASSERT_EQ(values[kMaskId], -std::numeric_limits<float>::infinity());
    ASSERT_EQ(values[kTokenizerSize], -std::numeric_limits<float>::infinity());
    const MeasurePartial want = measure_leaf(values, 0, measures[i]);
    EXPECT_EQ(got[i].token, want.token);
    // Logarithms of GPUs differ in the last place.
    EXPECT_NEAR(got[i].score, want.score, 1e-14 * (1.0 + std::abs(want.score)));
    EXPECT_EQ(got[i].logit, want.logit);
    EXPECT_EQ(got[i].max_logit, want.max_logit);
    EXPECT_EQ(got[i].greedy_token, want.greedy_token);
    EXPECT_EQ(got[i].temperature, want.temperature);
    // fp32 exponentials of distances that were rounded to fp32.
    EXPECT_NEAR(got[i].plain_sum, want.plain_sum, 1e-6 * want.plain_sum);
    EXPECT_NEAR(got[i].tempered_sum, want.tempered_sum, 1e-6 * want.tempered_sum);
    if (measures[i].kind == MeasureKind::kCanvas) {
      EXPECT_NEAR(finish(got[i], measures[i]).entropy, finish(want, measures[i]).entropy, 1e-5);
    }
  }
}

TEST_P(FusedMeasureTest, TheHighestOfEqualIdsWins) {
  Measure greedy;
  const auto partials = measure(*backend_, {&greedy, 1}, 0, 0, 1);
  EXPECT_EQ(partials[0].token, 5000);
  greedy.penalised_id = 5000;
  greedy.penalty = 0.25F;
  EXPECT_EQ(measure(*backend_, {&greedy, 1}, 0, 0, 1)[0].token, 1100);
}

TEST_P(FusedMeasureTest, OneIdLeftIsChosenForCertain) {
  for (std::int64_t k = 0; k < kHidden; ++k) hidden_.set(0, k, 0.0F);
  const auto head = shard(*backend_, 0, 1);
  ConstMatrixView row = hidden_.view();
  row.rows = 1;
  for (const MeasureKind kind : {MeasureKind::kGreedy, MeasureKind::kSampled}) {
    Measure measure;
    measure.kind = kind;
    measure.temperature = kind == MeasureKind::kSampled ? 0.7F : 0.0F;
    std::vector<std::byte> workspace(
        static_cast<std::size_t>(backend_->measure_workspace_bytes(*head, 1)));
    MeasurePartial partial;
    backend_->measure(row, *head, {0, 2, /*mask_id=*/0}, {&measure, 1}, workspace, {&partial, 1});
    const Measurement got = finish(partial, measure);
    EXPECT_EQ(got.token, 1);
    EXPECT_EQ(got.confidence, 1.0F);
  }
}

TEST_P(FusedMeasureTest, RowsAndThreadsDoNotChangeABit) {
  const auto measures = all_kinds();
  const auto together = measure(*backend_, measures, 0, 0, 1);
  for (std::size_t i = 0; i < measures.size(); i += 3) {
    const auto alone = measure(*backend_, {&measures[i], 1}, static_cast<std::int64_t>(i), 0, 1);
    EXPECT_TRUE(same_bits(alone[0], together[i])) << "row " << i;
  }
  for (const std::int32_t num_threads : {2, 3, 4}) {
    const auto threaded = GetParam().create(num_threads);
    const auto got = measure(*threaded, measures, 0, 0, 1);
    for (std::size_t i = 0; i < got.size(); ++i) {
      EXPECT_TRUE(same_bits(got[i], together[i])) << num_threads << " threads, row " << i;
    }
  }
}

TEST_P(FusedMeasureTest, RanksDoNotChangeABit) {
  const auto measures = all_kinds();
  const auto whole = measure(*backend_, measures, 0, 0, 1);
  for (const std::int32_t ranks : {2, 4, 8}) {
    std::vector<std::vector<MeasurePartial>> partials;
    for (std::int32_t r = 0; r < ranks; ++r) {
      partials.push_back(measure(*backend_, measures, 0, r, ranks));
    }
    for_each_branch(ranks, [&](std::int32_t left, std::int32_t right) {
      for (std::size_t i = 0; i < measures.size(); ++i) {
        auto& sum = partials[static_cast<std::size_t>(left)][i];
        sum = merge(sum, partials[static_cast<std::size_t>(right)][i]);
      }
    });
    for (std::size_t i = 0; i < measures.size(); ++i) {
      EXPECT_TRUE(same_bits(partials[0][i], whole[i])) << ranks << " ranks, row " << i;
    }
  }
}

TEST_P(FusedMeasureTest, LogitsAreTheSameBitsOnEveryNumberOfRanksAndThreads) {
  const auto measures = all_kinds();
  const auto head = shard(*backend_, 0, 1);
  Matrix whole(kNumRows, head->shape().rows);
  backend_->logits(hidden_.view(), *head, vocabulary(0, 1), measures, whole.view());
  const auto threaded = GetParam().create(3);
  for (const std::int32_t ranks : {2, 4, 8}) {
    for (std::int32_t r = 0; r < ranks; ++r) {
      const auto part = shard(*threaded, r, ranks);
      Matrix got(kNumRows, part->shape().rows);
      threaded->logits(hidden_.view(), *part, vocabulary(r, ranks), measures, got.view());
      for (std::int64_t i = 0; i < kNumRows; ++i) {
        ASSERT_EQ(std::memcmp(&got.at(i, 0), &whole.at(i, r * got.cols),
                              static_cast<std::size_t>(got.cols) * sizeof(float)),
                  0)
            << "rank " << r << " of " << ranks << ", row " << i;
      }
    }
  }
}

TEST_P(FusedMeasureTest, StoredLogitsGiveTheSameBits) {
  const auto measures = all_kinds();
  const auto want = measure(*backend_, measures, 0, 0, 1);
  const auto head = shard(*backend_, 0, 1);
  Matrix logits(kNumRows, head->shape().rows);
  backend_->logits(hidden_.view(), *head, vocabulary(0, 1), measures, logits.view());
  for (const std::int32_t num_threads : {1, 3}) {
    const auto threaded = GetParam().create(num_threads);
    std::vector<std::byte> workspace(
        static_cast<std::size_t>(threaded->measure_workspace_bytes(*head, kNumRows)));
    std::vector<MeasurePartial> got(measures.size());
    threaded->measure_logits(logits.view(), *head, 0, measures, workspace, got);
    for (std::size_t i = 0; i < got.size(); ++i) {
      EXPECT_TRUE(same_bits(got[i], want[i])) << num_threads << " threads, row " << i;
    }
  }
}

TEST_P(FusedMeasureTest, LogitsOfAVocabularyWithoutAnEndAreTheProduct) {
  const auto head = shard(*backend_, 0, 1);
  const VocabularyShard all{.first_id = 0,
                            .tokenizer_size = std::numeric_limits<std::int32_t>::max()};
  Matrix product(kNumRows, head->shape().rows);
  Matrix logits(kNumRows, head->shape().rows);
  backend_->gemm(hidden_.view(), *head, product.view());
  backend_->logits(hidden_.view(), *head, all, std::vector<Measure>(kNumRows), logits.view());
  for (std::int64_t i = 0; i < kNumRows; ++i) {
    for (std::int64_t id = 0; id < logits.cols; ++id) {
      ASSERT_EQ(logits.at(i, id), product.at(i, id)) << "row " << i << " id " << id;
    }
  }
  EXPECT_TRUE(logits.padding_untouched());
}

TEST_P(FusedMeasureTest, ASoftCapComesBeforeExclusion) {
  const auto measures = all_kinds();
  const auto head = shard(*backend_, 0, 1);
  Matrix raw(kNumRows, head->shape().rows);
  Matrix capped(kNumRows, head->shape().rows);
  VocabularyShard vocab = vocabulary(0, 1);
  hidden_.set(3, 0, std::numeric_limits<float>::quiet_NaN());
  backend_->logits(hidden_.view(), *head, vocab, std::vector<Measure>(kNumRows), raw.view());
  vocab.softcap = 1.5F;
  backend_->logits(hidden_.view(), *head, vocab, measures, capped.view());
  for (std::int64_t i = 0; i < kNumRows; ++i) {
    const Measure& measure = measures[static_cast<std::size_t>(i)];
    for (TokenId id = 0; id < kTokenizerSize; ++id) {
      if (id == kMaskId || i == 3) continue;
      double want = 1.5 * std::tanh(double{raw.at(i, id)} / 1.5);
      if (id == measure.penalised_id) want -= double{measure.penalty};
      if (std::isinf(want)) continue;
      ASSERT_NEAR(capped.at(i, id), want, 1e-6) << "row " << i << " id " << id;
    }
    ASSERT_EQ(capped.at(i, kMaskId), -std::numeric_limits<float>::infinity());
  }
  EXPECT_TRUE(std::isnan(capped.at(3, 7))) << "what is not a number is not made one";
}

TEST_P(FusedMeasureTest, RefusesWhatTheContractForbids) {
  const auto head = shard(*backend_, 0, 1);
  std::vector<Measure> measures(static_cast<std::size_t>(kNumRows));
  std::vector<MeasurePartial> partials(measures.size());
  std::vector<std::byte> workspace(
      static_cast<std::size_t>(backend_->measure_workspace_bytes(*head, kNumRows)));
  const auto call = [&] {
    backend_->measure(hidden_.view(), *head, vocabulary(0, 1), measures, workspace, partials);
  };
  measures[3].temperature = -1.0F;
  EXPECT_ERROR(call(), kInvalidArgument);
  measures[3].temperature = 0.0F;
  measures.pop_back();
  EXPECT_ERROR(call(), kInvalidArgument);
  partials.pop_back();
  EXPECT_ERROR(call(), kInvalidArgument);
}

}  // namespace
}  // namespace tessera::kernels
