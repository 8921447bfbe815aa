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
  spec.attention_kinds = {{.num_kv_heads = num_kv_heads, .head_dim = head_dim}};
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

// Every kind of layer must be cut: one global head is copied, two sliding ones are not.
TEST(ShardingTest, LayersOfEveryKindAreCut) {
  ModelSpec spec = with_heads(8, 4, 16);
  spec.attention_kinds.push_back({.num_kv_heads = 1, .head_dim = 32});
  spec.num_layers = 3;
  spec.layer_kinds = {0, 0, 1};
  EXPECT_THAT(legal_tp_degrees(spec), ElementsAre(1, 2, 4, 8));
  const RankShard shard = shard_of(spec, /*rank=*/3, /*tp=*/4);
  EXPECT_EQ(shard.attention_of(spec, 1).kv, (IndexRange{48, 64}));
  EXPECT_EQ(shard.attention_of(spec, 2).kv, (IndexRange{0, 32})) << "the only head";
  EXPECT_EQ(shard.attention_of(spec, 2).q, (IndexRange{192, 256}));
  spec.attention_kinds[1].num_kv_heads = 3;
  EXPECT_THAT(legal_tp_degrees(spec), ElementsAre(1));
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
    AttentionShard last;
    for (std::int32_t rank = 0; rank < tp; ++rank) {
      const RankShard shard = shard_of(spec, rank, tp);
      const AttentionShard& attention = shard.attention_kinds.front();
      EXPECT_EQ(attention.q.begin, last.q.end);
      EXPECT_EQ(attention.kv.begin, last.kv.end);
      EXPECT_EQ(shard.intermediate.begin, previous.intermediate.end);
      EXPECT_EQ(shard.vocab.begin, previous.vocab.end);
      EXPECT_EQ(attention.q.size(), shard.num_q_heads * 32);
      previous = shard;
      last = attention;
    }
    EXPECT_EQ(last.q.end, 16 * 32);
    EXPECT_EQ(last.kv.end, 8 * 32);
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
      const AttentionShard& attention = shard.attention_kinds.front();
      const std::int32_t group = shard.num_q_heads / attention.num_kv_heads;
      for (std::int32_t head = 0; head < shard.num_q_heads; ++head) {
        const std::int64_t global_head = attention.q.begin / 32 + head;
        EXPECT_EQ(attention.first_kv_head + head / group, global_head / 8) << "tp " << tp;
      }
    }
  }
}

}  // namespace
}  // namespace tessera
