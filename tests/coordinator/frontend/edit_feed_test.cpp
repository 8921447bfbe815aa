#include "coordinator/frontend/openai/edit_feed.h"

#include <gtest/gtest.h>

#include <random>

#include "tests/coordinator/frontend/text_fixture.h"

namespace tessera {
namespace {

using nlohmann::ordered_json;
using testing::tiny_tokenizer;

// What a client of docs/streaming.md keeps.
struct Client {
  std::map<std::int32_t, TokenId> shown;
  std::int32_t opened = 0;
  std::int32_t committed = 0;
  std::int64_t next_seq = 0;

  void take(const ordered_json& event) {
    ASSERT_TRUE(event.is_object()) << event;
    EXPECT_EQ(event.at("seq"), next_seq++);
    const std::string type = event.at("type");
    if (type == "open") {
      EXPECT_EQ(event.at("start"), opened);
      EXPECT_GT(event.at("len"), 0);
      opened += event.at("len").get<std::int32_t>();
    } else if (type == "set") {
      for (std::size_t i = 0; i < event.at("pos").size(); ++i) {
        const std::int32_t position = event["pos"][i];
        EXPECT_LT(position, opened);
        shown[position] = event["ids"][i];
      }
    } else if (type == "snapshot") {
      const std::int32_t from = event.at("from");
      shown.erase(shown.lower_bound(from), shown.end());
      for (std::size_t i = 0; i < event.at("ids").size(); ++i) {
        if (event["ids"][i].is_null()) continue;
        shown[from + static_cast<std::int32_t>(i)] = event["ids"][i];
      }
    } else {
      ASSERT_EQ(type, "commit");
      committed = event.at("upto");
    }
  }
};

TEST(EditFeedTest, AClientThatReadsAtAnySpeedShowsTheProvisionalTokensOfTheServer) {
  constexpr std::int32_t kPrompt = 6;
  constexpr std::int32_t kOutput = 700;
  std::mt19937 random(5);
  for (const unsigned reads_every : {1u, 3u, 40u, 1000u}) {
    EditFeed feed(tiny_tokenizer(),
                  {.choice = 0, .prompt_len = kPrompt, .block_size = 4, .max_output = kOutput});
    Client client;
    std::map<std::int32_t, TokenId> written;
    std::int64_t seq = 0;
    std::int32_t frozen = 0;
    for (unsigned step = 0; frozen < kOutput; ++step) {
      SequenceUpdate update;
      update.num_steps = static_cast<std::int32_t>(step) + 1;
      for (int i = 0; i < 3; ++i) {
        const auto position =
            std::min<std::int32_t>(frozen + static_cast<std::int32_t>(random() % 12), kOutput - 1);
        const auto token = static_cast<TokenId>(random() % 100);
        update.writes.push_back({kPrompt + position, token, 0.5F});
        written[position] = token;
      }
      const auto limit = std::min<std::int32_t>(frozen + 4, kOutput);
      while (frozen < limit && written.contains(frozen)) ++frozen;
      feed.push(update, frozen);
      if (step % reads_every != 0 && frozen < kOutput) continue;
      for (const auto& event : feed.take(seq, /*is_end=*/false))
        ASSERT_NO_FATAL_FAILURE(client.take(event));
      EXPECT_EQ(client.committed, frozen);
      for (const auto& [position, token] : written) {
        if (position < frozen) continue;  // its text comes as a delta
        EXPECT_EQ(client.shown.at(position), token) << "position " << position;
      }
    }
    EXPECT_EQ(client.opened, kOutput);
    EXPECT_EQ(client.next_seq, seq);
  }
}

TEST(EditFeedTest, BlocksFollowTheGridOfThePrompt) {
  EditFeed feed(tiny_tokenizer(), {.choice = 2, .prompt_len = 6, .block_size = 4, .max_output = 5});
  SequenceUpdate update;
  update.num_steps = 1;
  update.writes = {{9, 17, 0.75F}};
  feed.push(update, 0);
  std::int64_t seq = 10;
  const auto events = feed.take(seq, /*is_end=*/false);
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(events[0], ordered_json::parse(R"({"type":"open","seq":10,"index":2,"nfe":1,"block":0,
                                               "start":0,"len":2})"));
  EXPECT_EQ(events[1].at("start"), 2);
  EXPECT_EQ(events[1].at("len"), 3) << "no position at max_output is ever written";
  EXPECT_EQ(events[2].at("pos"), ordered_json::array({3}));
  EXPECT_EQ(events[2].at("conf"), ordered_json::array({0.75}));
  EXPECT_EQ(seq, 13);
}

TEST(EditFeedTest, WhatIsOpenWhenTheChoiceEndsIsDropped) {
  EditFeed feed(tiny_tokenizer(),
                {.choice = 0, .prompt_len = 4, .block_size = 4, .max_output = 50});
  SequenceUpdate update;
  update.num_steps = 1;
  update.writes = {{4, 17, 0.75F}, {13, 18, 0.75F}};
  feed.push(update, 1);
  std::int64_t seq = 0;
  const auto events = feed.take(seq, /*is_end=*/true);
  std::vector<std::string> types;
  for (const auto& event : events) types.push_back(event.at("type"));
  EXPECT_EQ(types, (std::vector<std::string>{"open", "open", "open", "set", "commit", "drop"}));
  EXPECT_EQ(events.back().at("from"), 1);
}

TEST(EditFeedTest, AnOutputThatEndsWithItsBlockOpensAndDropsNothingMore) {
  EditFeed feed(tiny_tokenizer(),
                {.choice = 0, .prompt_len = 4, .block_size = 4, .max_output = 50});
  SequenceUpdate update;
  update.num_steps = 1;
  for (Position position = 4; position < 8; ++position) {
    update.writes.push_back({position, 17, 0.75F});
  }
  feed.push(update, 4);
  std::int64_t seq = 0;
  const auto events = feed.take(seq, /*is_end=*/true);
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(events.back().at("type"), "commit");
}

}  // namespace
}  // namespace tessera
