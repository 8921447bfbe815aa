#pragma once

#include <cstdint>
#include <iterator>
#include <nlohmann/json.hpp>
#include <random>
#include <string>

namespace tessera::testing {

/// A value of another kind than is wanted, or out of every range.
inline nlohmann::json strange_json(std::mt19937& random) {
  using nlohmann::json;
  static const json kValues[] = {nullptr,
                                 true,
                                 -1,
                                 0,
                                 1e300,
                                 0.5,
                                 2147483648,
                                 -2147483649,
                                 18446744073709551615U,
                                 "",
                                 "x",
                                 "\xF0\x9F\x8D\x8E",
                                 std::string(1, '\0'),
                                 std::string(300, 'y'),
                                 json::array(),
                                 json::object(),
                                 json::array({nullptr}),
                                 json::array({json::array()}),
                                 {{"a", {{"b", 1}}}}};
  return kValues[random() % std::size(kValues)];
}

/// Replaces, removes or adds one member somewhere in the document.
inline void mutate_json(nlohmann::json& value, std::mt19937& random) {
  if (value.is_structured() && !value.empty() && random() % 4 != 0) {
    auto member = value.begin();
    std::advance(member, random() % value.size());
    if (random() % 8 == 0) {
      value.erase(member);
    } else {
      mutate_json(*member, random);
    }
  } else if (value.is_object() && random() % 3 == 0) {
    const auto letter = static_cast<char>('a' + random() % 26);
    value[std::string(1 + random() % 3, letter)] = strange_json(random);
  } else if (value.is_array() && random() % 3 == 0) {
    value.push_back(strange_json(random));
  } else {
    value = strange_json(random);
  }
}

/// Flips bytes of the text, and sometimes cuts it.
inline void damage_text(std::string& text, std::mt19937& random) {
  for (std::uint32_t n = 1 + random() % 6; n > 0; --n) {
    text[random() % text.size()] = static_cast<char>(random());
  }
  if (random() % 4 == 0) text.resize(1 + random() % text.size());
}

}  // namespace tessera::testing
