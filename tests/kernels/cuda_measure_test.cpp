#include <gtest/gtest.h>

#include <cstring>
#include <limits>

#include "kernels/cuda/measure/measure_rows.h"
#include "kernels/measure_row.h"
#include "kernels/partition.h"
#include "tests/kernels/backend_fixture.h"
#include "tests/support/error_matchers.h"

// What the case lists do not reach: leaves of several parts, several groups of rows.
namespace tessera::kernels::cuda {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

constexpr std::int64_t kCols = 2 * 9504;  // two leaves of three parts
constexpr std::int64_t kMeasuredRows = 6;

Matrix wide_logits() {
  Matrix logits = random_matrix(kMeasuredRows, kCols, /*seed=*/41);
  for (std::int64_t i = 0; i < kCols; ++i) {
    logits.at(1, i) = 0.5F;                            // all equal
    logits.at(2, i) = i % 7 == 0 ? kNaN : -kInfinity;  // nothing to choose
    logits.at(3, i) = i == 4000 ? -3.0F : -kInfinity;  // one, in the second part
    logits.at(4, i) *= i % 11 == 0 ? kNaN : 8.0F;      // some that do not count
  }
  for (const std::int64_t id : {17, 3200, 8000, 9000, 9001}) {
    logits.at(0, id) = 20.0F;  // ties of three parts
    logits.at(5, id) = 1e20F;  // that noise does not part
  }
  return logits;
}

std::vector<Measure> wide_measures(MeasureKind kind, float temperature) {
  std::vector<Measure> measures(kMeasuredRows);
  for (std::size_t i = 0; i < measures.size(); ++i) {
    measures[i].kind = kind;
    measures[i].temperature = temperature;
    measures[i].seed = 77 + i;
    measures[i].position = static_cast<Position>(i);
  }
  return measures;
}

std::vector<MeasurePartial> measured(ConstMatrixView logits, const std::vector<Measure>& measures) {
  Context context(/*deterministic=*/true);
  std::vector<MeasurePartial> parts(
      static_cast<std::size_t>(logits.rows * num_measure_parts(logits.cols, 2)));
  std::vector<MeasurePartial> partials(measures.size());
  measure_rows(context,
               {logits, 2, {0, static_cast<std::int32_t>(kCols), -1}, measures.data(), false},
               parts.data(), partials.data());
  return partials;
}

TEST(CudaMeasureTest, PartsOfAVocabularyAreAsItsLeaves) {
  EXPECT_EQ(num_measure_parts(kCols, 2), 6);
  Matrix logits = wide_logits();
  for (const auto& [kind, temperature] :
       {std::pair{MeasureKind::kGreedy, 0.0F}, std::pair{MeasureKind::kSampled, 1.0F},
        std::pair{MeasureKind::kSampled, 0.3F}, std::pair{MeasureKind::kCanvas, 2.0F}}) {
    const auto measures = wide_measures(kind, temperature);
    const auto got = measured(logits.view(), measures);
    for (std::int64_t row = 0; row < kMeasuredRows; ++row) {
      SCOPED_TRACE(::testing::Message() << "row " << row << ", temperature " << temperature);
      const auto i = static_cast<std::size_t>(row);
      const std::span<const float> values(&logits.at(row, 0), kCols);
      const MeasurePartial want =
          merge(measure_leaf(values.first(kCols / 2), 0, measures[i]),
                measure_leaf(values.subspan(kCols / 2), kCols / 2, measures[i]));
      EXPECT_EQ(got[i].token, want.token);
      EXPECT_EQ(got[i].greedy_token, want.greedy_token);
      EXPECT_EQ(got[i].max_logit, want.max_logit);
      EXPECT_EQ(got[i].logit, want.logit);
      EXPECT_NEAR(got[i].plain_sum, want.plain_sum, 1e-6 * want.plain_sum);
      EXPECT_NEAR(got[i].tempered_sum, want.tempered_sum, 1e-6 * want.tempered_sum);
      if (row == 2) {
        EXPECT_ERROR(finish(got[i], measures[i]), kInternal);
      } else if (kind == MeasureKind::kCanvas) {
        EXPECT_NEAR(finish(got[i], measures[i]).entropy, finish(want, measures[i]).entropy, 1e-5);
      }
    }
  }
}

// Whatever id of a vector wins, with the first guess of its score and with the second.
TEST(CudaMeasureTest, SampledTokensAreThoseOfTheHost) {
  const Matrix logits = random_matrix(1, kCols, /*seed=*/43);
  const std::span<const float> values(&logits.values[0], kCols);
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    auto measures = wide_measures(MeasureKind::kSampled, seed % 2 == 0 ? 1.0F : 0.3F);
    measures.resize(1);
    measures[0].seed = seed;
    const MeasurePartial got = measured(logits.view(), measures).front();
    const MeasurePartial want =
        merge(measure_leaf(values.first(kCols / 2), 0, measures[0]),
              measure_leaf(values.subspan(kCols / 2), kCols / 2, measures[0]));
    EXPECT_EQ(got.token, want.token) << "seed " << seed;
    EXPECT_EQ(got.score, want.score) << "seed " << seed;
  }
}

TEST(CudaMeasureTest, WhereARowLiesDoesNotChangeABit) {
  Matrix logits = wide_logits();  // its rows begin anywhere
  Matrix packed(kMeasuredRows, kCols, /*padding=*/0);
  for (std::int64_t row = 0; row < kMeasuredRows; ++row) {
    std::copy_n(&logits.at(row, 0), kCols, &packed.at(row, 0));
  }
  const auto measures = wide_measures(MeasureKind::kSampled, 0.7F);
  const auto one = measured(logits.view(), measures);
  const auto other = measured(packed.view(), measures);
  EXPECT_EQ(std::memcmp(one.data(), other.data(), one.size() * sizeof one[0]), 0);
}

TEST(CudaMeasureTest, GroupsOfRowsDoNotChangeABit) {
  constexpr std::int64_t kHidden = 8;
  constexpr std::int64_t kManyRows = 258;  // a group and two
  const auto backend = backend_cases().front().create();
  const auto head = backend->create_packed({128, kHidden, 1, 1});
  backend->pack_rows(*head, 0, random_matrix(128, kHidden, 3).view());
  TypedMatrix hidden(DType::kBFloat16, random_matrix(kManyRows, kHidden, 4));
  std::vector<Measure> measures(kManyRows);
  for (std::size_t i = 0; i < measures.size(); ++i) {
    measures[i].kind = MeasureKind::kSampled;
    measures[i].temperature = 1.0F;
    measures[i].seed = i;
  }
  const auto run = [&](std::int64_t first, std::int64_t count) {
    ConstMatrixView rows = std::as_const(hidden).view();
    rows.data = rows.row(first);
    rows.rows = count;
    std::vector<std::byte> workspace(
        static_cast<std::size_t>(backend->measure_workspace_bytes(*head, count)));
    std::vector<MeasurePartial> partials(static_cast<std::size_t>(count));
    backend->measure(rows, *head, {0, 128, 5},
                     std::span(measures).subspan(static_cast<std::size_t>(first), partials.size()),
                     workspace, partials);
    return partials;
  };
  const auto together = run(0, kManyRows);
  for (const std::int64_t row : {0, 255, 256, 257}) {
    const auto alone = run(row, 1);
    EXPECT_EQ(std::memcmp(alone.data(), &together[static_cast<std::size_t>(row)], sizeof alone[0]),
              0)
        << "row " << row;
  }
}

TEST(CudaMeasureTest, PassesOverLogitsAreThoseOfTheHost) {
  Matrix logits = wide_logits();
  Matrix other = logits;
  const StoredLogits on_device{logits.view(), 2, /*first_id=*/64};
  const StoredLogits on_host{other.view(), 2, /*first_id=*/64};
  auto measures = wide_measures(MeasureKind::kSampled, 0.8F);
  for (std::size_t i = 0; i < measures.size(); ++i) {
    measures[i].num_alternatives = i == 1 ? 0 : 5;
    measures[i].penalised_id = 9001 + 64;  // the logits are penalised already
    measures[i].penalty = 100.0F;
  }
  const auto backend = backend_cases().front().create();
  std::vector<LogitStatistics> got(kMeasuredRows);
  std::vector<LogitStatistics> want(kMeasuredRows);
  backend->logit_statistics(on_device, measures, got);
  logit_statistics_on_host(on_host, measures, want);
  std::vector<DigitQuery> queries(kMeasuredRows);
  for (std::size_t i = 0; i < kMeasuredRows; ++i) {
    EXPECT_EQ(got[i].partial.token, want[i].partial.token) << "row " << i;
    EXPECT_EQ(got[i].partial.max_logit, want[i].partial.max_logit) << "row " << i;
    EXPECT_NEAR(got[i].partial.plain_sum, want[i].partial.plain_sum,
                1e-6 * want[i].partial.plain_sum)
        << "row " << i;
    EXPECT_EQ(got[i].top, want[i].top) << "row " << i;
    queries[i] = {i == 0 ? LogitKey{0xBF} : 0, want[i].partial.max_logit, 0.8F, i == 0 ? 48 : 56,
                  i != 3};
  }
  std::vector<DigitBin> bins(kMeasuredRows * kNumDigits, DigitBin{1, 1});
  std::vector<DigitBin> host_bins = bins;
  backend->count_digits(on_device, queries, bins);
  count_digits_on_host(on_host, queries, host_bins);
  for (std::size_t i = 0; i < bins.size(); ++i) {
    ASSERT_EQ(bins[i].count, host_bins[i].count) << "bin " << i;
    ASSERT_EQ(bins[i].mass, host_bins[i].mass) << "bin " << i;
  }
  const std::vector<LogitKey> cuts = {key_of(1.0F, 0),  key_of(0.5F, 9000), 0, 0,
                                      key_of(-0.5F, 0), key_of(1e20F, 9064)};
  backend->drop_logits(on_device, cuts);
  drop_logits_on_host(on_host, cuts);
  EXPECT_EQ(
      std::memcmp(logits.values.data(), other.values.data(), logits.values.size() * sizeof(float)),
      0);
}

TEST(CudaMeasureTest, LeavesThatCutAVectorAreRefused) {
  const Matrix logits(1, 12);
  const Measure measure;
  Context context(/*deterministic=*/true);
  MeasurePartial partial;
  EXPECT_ERROR(
      measure_rows(context, {logits.view(), 2, {0, 12, -1}, &measure, false}, &partial, &partial),
      kInvalidArgument);
}

}  // namespace
}  // namespace tessera::kernels::cuda
