#include "common/model_spec/sharding.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/error_matchers.h"

namespace tessera {
namespace {

using ::testing::ElementsAre;

ModelSpec with_heads(std::int32_t num_q_heads, std::int32_t num_kv_heads, std::int32_t head_dim) {
  ModelSpec spec;
  spec.hidden_size = 64;
  spec.num_layers = 1;
  spec.num_q_heads = num_q_heads;
  spec.num_kv_heads = num_kv_heads;
  spec.head_dim = head_dim;
  spec.intermediate_size = 100;
  spec.vocab_size = 131;
  return spec;
}

TEST(ShardingTest, LegalDegreesFollowTheHeads) {
  EXPECT_THAT(legal_tp_degrees(with_heads(32, 8, 128)), ElementsAre(1, 2, 4, 8));
  EXPECT_THAT(legal_tp_degrees(with_heads(28, 4, 128)), ElementsAre(1, 2, 4));
  EXPECT_THAT(legal_tp_degrees(with_heads(12, 2, 128)), ElementsAre(1, 2, 4));
  EXPECT_THAT(legal_tp_degrees(with_heads(16, 2, 128)), ElementsAre(1, 2, 4, 8));
  EXPECT_THAT(legal_tp_degrees(with_heads(6, 3, 16)), ElementsAre(1));
  EXPECT_THAT(legal_tp_degrees(with_heads(7, 7, 64)), ElementsAre(1));
  EXPECT_THAT(legal_tp_degrees(with_heads(6, 2, 20)), ElementsAre(1)) << "120 is no multiple of 16";
}

std::string refusal_of(const ModelSpec& spec,
                       std::int32_t tp,
                       ExpertSharding experts = ExpertSharding::kByWidth) {
  try {
    require_legal_tp(spec, tp, experts);
    return {};
  } catch (const Error& error) {
    return error.what();
  }
}

TEST(ShardingTest, RefusalListsTheLegalDegrees) {
  EXPECT_THAT(refusal_of(with_heads(28, 4, 128), 8), ::testing::HasSubstr("legal are 1, 2, 4"));
  EXPECT_ERROR(require_legal_tp(with_heads(32, 8, 128), 3), kInvalidArgument);
}

TEST(ShardingTest, RanksPartitionEveryDimension) {
  for (const std::int32_t tp : {1, 2, 4, 8}) {
    const ModelSpec spec = with_heads(16, 8, 32);
    RankShard previous;
    for (std::int32_t rank = 0; rank < tp; ++rank) {
      const RankShard shard = shard_of(spec, rank, tp);
      EXPECT_EQ(shard.q.begin, previous.q.end);
      EXPECT_EQ(shard.kv.begin, previous.kv.end);
      EXPECT_EQ(shard.intermediate.begin, previous.intermediate.end);
      EXPECT_EQ(shard.vocab.begin, previous.vocab.end);
      EXPECT_EQ(shard.q.size(), shard.num_q_heads * spec.head_dim);
      previous = shard;
    }
    EXPECT_EQ(previous.q.end, spec.q_size());
    EXPECT_EQ(previous.kv.end, spec.kv_size());
    EXPECT_EQ(previous.intermediate.end, 112);
    EXPECT_EQ(previous.vocab.end, 256);
  }
}

ModelSpec with_experts(std::int32_t num_experts) {
  ModelSpec spec = with_heads(16, 8, 32);
  spec.moe.num_experts = num_experts;
  spec.moe.intermediate_size = 24;
  spec.moe.shared_intermediate_size = 40;
  return spec;
}

TEST(ShardingTest, WholeExpertsNeedExpertsThatRanksCanDivide) {
  constexpr auto kByExpert = ExpertSharding::kByExpert;
  EXPECT_THAT(legal_tp_degrees(with_experts(16), kByExpert), ElementsAre(1, 2, 4, 8));
  EXPECT_THAT(legal_tp_degrees(with_experts(12), kByExpert), ElementsAre(1, 2, 4));
  EXPECT_THAT(legal_tp_degrees(with_experts(12)), ElementsAre(1, 2, 4, 8));
  EXPECT_THAT(legal_tp_degrees(with_heads(16, 8, 32), kByExpert), ElementsAre());
  EXPECT_THAT(refusal_of(with_experts(12), 8, kByExpert),
              ::testing::HasSubstr("with expert_parallel, 12 experts; legal are 1, 2, 4"));
  EXPECT_THAT(refusal_of(with_heads(16, 8, 32), 1, kByExpert), ::testing::HasSubstr("no experts"));
}

TEST(ShardingTest, RanksPartitionExpertsByWidthOrByExpert) {
  const ModelSpec spec = with_experts(16);
  for (const std::int32_t tp : {1, 2, 4, 8}) {
    RankShard by_width;
    RankShard by_expert;
    for (std::int32_t rank = 0; rank < tp; ++rank) {
      const RankShard width = shard_of(spec, rank, tp);
      EXPECT_EQ(width.experts, (IndexRange{0, 16}));
      EXPECT_EQ(width.expert.begin, by_width.expert.end);
      EXPECT_EQ(width.shared.begin, by_width.shared.end);
      by_width = width;
      const RankShard expert = shard_of(spec, rank, tp, ExpertSharding::kByExpert);
      EXPECT_EQ(expert.experts.begin, by_expert.experts.end);
      EXPECT_EQ(expert.expert, (IndexRange{0, 32})) << "24, padded";
      EXPECT_EQ(expert.shared, width.shared) << "these are cut by width in either mode";
      by_expert = expert;
    }
    EXPECT_EQ(by_width.expert.end, 32);
    EXPECT_EQ(by_expert.experts.end, 16);
  }
}

TEST(ShardingTest, ReplicatedKvHeadsServeTheirOwnQueryHeads) {
  const ModelSpec spec = with_heads(16, 2, 32);
  for (const std::int32_t tp : {1, 2, 4, 8}) {
    for (std::int32_t rank = 0; rank < tp; ++rank) {
      const RankShard shard = shard_of(spec, rank, tp);
      const std::int32_t group = shard.num_q_heads / shard.num_kv_heads;
      for (std::int32_t head = 0; head < shard.num_q_heads; ++head) {
        const std::int64_t global_head = shard.q.begin / spec.head_dim + head;
        EXPECT_EQ(shard.first_kv_head + head / group, global_head / 8) << "tp " << tp;
      }
    }
  }
}

}  // namespace
}  // namespace tessera
