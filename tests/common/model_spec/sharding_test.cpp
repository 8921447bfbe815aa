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

TEST(ShardingTest, RefusalListsTheLegalDegrees) {
  try {
    require_legal_tp(with_heads(28, 4, 128), 8);
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), ::testing::HasSubstr("legal are 1, 2, 4"));
  }
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
