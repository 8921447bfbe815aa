#include "tests/support/hash_model.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "common/base/philox.h"
#include "tests/support/golden_file.h"

namespace tessera {
namespace {

using Json = nlohmann::json;

/// Lives as long as the tests: they loop over parts of it.
const Json& vectors() {
  static const Json kVectors = [] {
    std::ifstream file(goldens_dir() + "/vectors.json");
    return Json::parse(file);
  }();
  return kVectors;
}

std::uint64_t hex(const Json& word) {
  return std::stoull(word.get<std::string>(), nullptr, 16);
}

TEST(VectorsTest, PhiloxGivesThePublishedWords) {
  for (const Json& known : vectors().at("philox4x32_10")) {
    const auto& counter = known.at("counter");
    const std::uint64_t seed =
        known.at("key")[0].get<std::uint64_t>() | known.at("key")[1].get<std::uint64_t>() << 32;
    const auto words =
        philox4x32_10(seed, counter[0], static_cast<Position>(counter[1].get<std::uint32_t>()),
                      static_cast<std::int32_t>(counter[2].get<std::uint32_t>()),
                      static_cast<RandomStream>(counter[3].get<std::uint32_t>()));
    for (std::size_t i = 0; i < words.size(); ++i) EXPECT_EQ(words[i], known.at("words")[i]);
  }
}

TEST(VectorsTest, GumbelNoiseIsAFunctionOfTheTokenId) {
  for (const Json& known : vectors().at("gumbel")) {
    for (std::size_t id = 0; id < known.at("noise").size(); ++id) {
      EXPECT_NEAR(gumbel_noise(known.at("seed"), known.at("position"), known.at("step"),
                               static_cast<TokenId>(id)),
                  known.at("noise")[id].get<double>(), 1e-12);
    }
  }
}

TEST(VectorsTest, UniformTokensMatch) {
  for (const Json& known : vectors().at("uniform_token")) {
    // At every place of a run that begins further left.
    for (std::size_t place = 0; place < 20; ++place) {
      std::vector<TokenId> tokens(20);
      const auto first = known.at("position").get<Position>() - static_cast<Position>(place);
      uniform_tokens(known.at("seed"), first, known.at("step"),
                     static_cast<RandomStream>(known.at("stream").get<std::uint32_t>()),
                     known.at("count"), tokens);
      ASSERT_EQ(tokens[place], known.at("token")) << place;
    }
  }
}

TEST(VectorsTest, MixIsTheSplitmixFinaliser) {
  for (const Json& known : vectors().at("mix64")) {
    EXPECT_EQ(splitmix64(hex(known.at("x"))), hex(known.at("y")));
  }
}

TEST(VectorsTest, HashForwardMatchesInEveryIntermediateValue) {
  const Json known = vectors().at("hash_model");
  const HashModel model(known.at("vocab_size"), known.at("seed"));
  constexpr std::size_t kRows = 4;  // block-causal in blocks of 2: rows 0-1 see 2 rows, 2-3 see 4
  HashRow rows[kRows];
  for (std::size_t i = 0; i < kRows; ++i) {
    rows[i].content = model.content(known.at("positions")[i], known.at("tokens")[i]);
    EXPECT_EQ(rows[i].content, hex(known.at("content")[i]));
  }
  const auto visible = [&](std::size_t i) { return i < 2 ? std::size_t{2} : kRows; };
  for (std::size_t i = 0; i < kRows; ++i) {
    std::uint64_t sum = 0;
    for (std::size_t j = 0; j < visible(i); ++j) sum += rows[j].content;
    HashModel::first_layer(rows[i], sum);
    EXPECT_EQ(rows[i].k2, hex(known.at("k2")[i]));
  }
  for (std::size_t i = 0; i < kRows; ++i) {
    std::uint64_t sum = 0;
    for (std::size_t j = 0; j < visible(i); ++j) sum += rows[j].k2;
    HashModel::second_layer(rows[i], sum);
    EXPECT_EQ(rows[i].h, hex(known.at("h")[i]));
    EXPECT_EQ(model.logits(rows[i].h, known.at("positions")[i]),
              known.at("logits")[i].get<std::vector<float>>());
  }
}

}  // namespace
}  // namespace tessera
