#include <gtest/gtest.h>

#include <barrier>
#include <cstring>
#include <random>
#include <thread>

#include "kernels/filtered_measure.h"
#include "kernels/measure_row.h"
#include "kernels/partition.h"
#include "tests/kernels/backend_fixture.h"
#include "tests/support/error_matchers.h"
#include "tests/support/measure_reference.h"

namespace tessera::kernels {
namespace {

constexpr std::int32_t kShardedVocab = 300;
constexpr std::int32_t kShardedHidden = 4;

// Shards as threads that meet at a barrier.
class ThreadGroup {
 public:
  explicit ThreadGroup(int shards) : barrier_(shards), buffers_(static_cast<std::size_t>(shards)) {}

  class Member final : public ShardGroup {
   public:
    Member(ThreadGroup& group, std::size_t rank) : group_(group), rank_(rank) {}
    std::int32_t num_shards() const override {
      return static_cast<std::int32_t>(group_.buffers_.size());
    }
    void sum(std::span<std::uint64_t> values) override {
      exchange(std::as_bytes(values));
      std::fill(values.begin(), values.end(), 0);
      for (const auto& buffer : group_.buffers_) {
        for (std::size_t i = 0; i < values.size(); ++i) {
          std::uint64_t value = 0;
          std::memcpy(&value, buffer.data() + 8 * i, 8);
          values[i] += value;
        }
      }
      group_.barrier_.arrive_and_wait();
    }
    void all_gather(std::span<const std::byte> mine, std::span<std::byte> all) override {
      exchange(mine);
      std::byte* out = all.data();
      for (const auto& buffer : group_.buffers_) {
        out = std::copy(buffer.begin(), buffer.end(), out);
      }
      group_.barrier_.arrive_and_wait();
    }

   private:
    void exchange(std::span<const std::byte> mine) {
      group_.buffers_[rank_].assign(mine.begin(), mine.end());
      group_.barrier_.arrive_and_wait();
    }
    ThreadGroup& group_;
    std::size_t rank_;
  };

 private:
  std::barrier<> barrier_;
  std::vector<std::vector<std::byte>> buffers_;
};

ModelFacts facts() {
  ModelFacts facts;
  facts.vocab_size = kShardedVocab;
  facts.tokenizer_size = 290;
  facts.mask_id = 7;
  return facts;
}

std::vector<Measure> random_measures(int count, bool filtered) {
  std::mt19937 rng(/*seed=*/17);
  std::vector<Measure> measures;
  for (int i = 0; i < count; ++i) {
    Measure m;
    m.position = i;
    m.denoising_step = i % 3;
    m.seed = rng();
    m.kind = i % 3 == 0 ? MeasureKind::kGreedy : MeasureKind::kSampled;
    m.temperature = i % 3 == 0 ? 0.0F : 0.5F + 0.25F * static_cast<float>(i % 4);
    if (filtered) {
      m.top_p = i % 2 == 0 ? 1.0F : 0.3F + 0.1F * static_cast<float>(i % 7);
      m.top_k = i % 4 == 0 ? 0 : 1 + i % 9;
      m.num_alternatives = i % 9;
    }
    if (i % 5 == 0) {
      m.penalised_id = 11;
      m.penalty = 0.5F;
    }
    measures.push_back(m);
  }
  return measures;
}

class MeasureTest : public BackendTest {
 protected:
  void SetUp() override {
    BackendTest::SetUp();
    if (backend_ == nullptr) return;
    // Rows 0 and 1: all logits are equal, the highest id that may be chosen wins.
    for (std::int64_t k = 0; k < kShardedHidden; ++k) values_.at(0, k) = values_.at(1, k) = 0.0F;
    hidden_ = TypedMatrix(activation(), values_);
  }

  // Quarter-integer weights and inputs: many equal logits, exact in bf16 and on every back end.
  static Matrix coarse(std::int64_t rows, std::int64_t cols, std::uint32_t seed) {
    Matrix matrix = random_matrix(rows, cols, seed);
    for (float& x : matrix.values) x = std::isnan(x) ? x : std::round(4.0F * x) / 4.0F;
    return matrix;
  }

  std::unique_ptr<PackedMatrix> shard(int rank, int ranks) {
    const std::int64_t rows = padded_vocabulary(kShardedVocab) / ranks;
    auto packed = backend_->create_packed({rows, kShardedHidden, 1, kNumLeaves / ranks});
    const std::int64_t count = std::clamp<std::int64_t>(kShardedVocab - rank * rows, 0, rows);
    ConstMatrixView part = weights_.view();
    part.data = weights_.view().row(rank * rows);
    part.rows = count;
    if (count > 0) backend_->pack_rows(*packed, 0, part);
    return packed;
  }

  VocabularyShard vocabulary(int rank, int ranks) const {
    return {static_cast<TokenId>(rank * padded_vocabulary(kShardedVocab) / ranks), 290, 7};
  }

  Measurement want(std::size_t row, const Measure& measure) const {
    std::vector<float> logits(kShardedVocab);
    for (std::size_t v = 0; v < logits.size(); ++v) {
      double sum = 0.0;
      for (std::int64_t k = 0; k < kShardedHidden; ++k) {
        sum += double{values_.at(static_cast<std::int64_t>(row), k)} *
               double{weights_.at(static_cast<std::int64_t>(v), k)};
      }
      logits[v] = static_cast<float>(sum);
    }
    return measure_reference(logits, facts(), measure);
  }

  void expect_equal(const Measurement& got, std::size_t row, const Measure& measure) const {
    SCOPED_TRACE(::testing::Message()
                 << "row " << row << " top_p " << measure.top_p << " top_k " << measure.top_k);
    const Measurement expected = want(row, measure);
    EXPECT_EQ(got.token, expected.token);
    EXPECT_NEAR(got.confidence, expected.confidence, 1e-6);
    EXPECT_NEAR(got.plain_confidence, expected.plain_confidence, 1e-6);
    ASSERT_EQ(got.alternatives.size(), expected.alternatives.size());
    for (std::size_t i = 0; i < got.alternatives.size(); ++i) {
      EXPECT_EQ(got.alternatives[i].token, expected.alternatives[i].token);
      EXPECT_NEAR(got.alternatives[i].probability, expected.alternatives[i].probability, 1e-6);
    }
  }

  Matrix weights_ = coarse(kShardedVocab, kShardedHidden, 8);
  Matrix values_ = coarse(40, kShardedHidden, 9);
  TypedMatrix hidden_{DType::kFloat32, 0, 0};  // values_ in the activation dtype
};

TESSERA_FOR_EVERY_BACKEND(MeasureTest);

TEST_P(MeasureTest, FusedRowsAreTheSameBitsOnEveryNumberOfRanks) {
  const auto measures = random_measures(40, /*filtered=*/false);
  std::vector<Measurement> first;
  for (const int ranks : {1, 2, 4, 8}) {
    std::vector<std::vector<MeasurePartial>> partials;
    for (int r = 0; r < ranks; ++r) {
      const auto head = shard(r, ranks);
      std::vector<std::byte> workspace(
          static_cast<std::size_t>(backend_->measure_workspace_bytes(*head, 40)));
      partials.emplace_back(40);
      backend_->measure(hidden_.view(), *head, vocabulary(r, ranks), measures, workspace,
                        partials.back());
    }
    for_each_branch(ranks, [&](std::int32_t left, std::int32_t right) {
      for (std::size_t i = 0; i < 40; ++i) {
        auto& sum = partials[static_cast<std::size_t>(left)][i];
        sum = merge(sum, partials[static_cast<std::size_t>(right)][i]);
      }
    });
    for (std::size_t i = 0; i < 40; ++i) {
      const Measurement got = finish(partials[0][i], measures[i]);
      if (ranks == 1) {
        expect_equal(got, i, measures[i]);
        first.push_back(got);
      }
      EXPECT_EQ(got, first[i]) << ranks << " ranks, row " << i;
    }
  }
}

TEST_P(MeasureTest, FilteredRowsAreTheSameBitsOnEveryNumberOfRanks) {
  const auto measures = random_measures(40, /*filtered=*/true);
  std::vector<Measurement> first;
  for (const int ranks : {1, 2, 4}) {
    ThreadGroup group(ranks);
    std::vector<Matrix> logits;
    for (int r = 0; r < ranks; ++r) {
      const auto head = shard(r, ranks);
      logits.emplace_back(40, head->shape().rows);
      backend_->logits(hidden_.view(), *head, vocabulary(r, ranks), measures, logits.back().view());
    }
    std::vector<std::vector<Measurement>> results(static_cast<std::size_t>(ranks),
                                                  std::vector<Measurement>(40));
    std::vector<std::thread> threads;
    for (int r = 0; r < ranks; ++r) {
      threads.emplace_back([&, r] {
        const auto rank = static_cast<std::size_t>(r);
        ThreadGroup::Member member(group, rank);
        const Buffer workspace(filtered_measure_workspace_bytes(40, ranks));
        const auto own = GetParam().create();
        filtered_measure(
            *own, {logits[rank].view(), kNumLeaves / ranks, vocabulary(r, ranks).first_id},
            measures, member,
            {workspace.as<std::byte>(), static_cast<std::size_t>(workspace.num_bytes())},
            results[rank]);
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (std::size_t i = 0; i < 40; ++i) {
      for (const auto& of_rank : results) EXPECT_EQ(of_rank[i], results[0][i]);
      if (ranks == 1) expect_equal(results[0][i], i, measures[i]);
    }
    if (ranks == 1) first = results[0];
    EXPECT_EQ(results[0], first) << ranks << " ranks";
  }
}

}  // namespace
}  // namespace tessera::kernels
