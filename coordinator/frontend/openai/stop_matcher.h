#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tessera {

/// Finds the first stop string in a text that arrives in pieces, and holds back only what may still
/// become one.
///
/// The match is the one that is complete first; of several that end at the same byte, the longest.
/// The result is the same for every way of cutting the text. Costs O(bytes x stop strings).
///
/// A plain value, owned by one thread.
class StopMatcher {
 public:
  /// @param stops  Well-formed UTF-8, none empty.
  explicit StopMatcher(std::vector<std::string> stops);

  /// Text that is certain not to belong to a stop string, as far as it is known after `text`.
  /// Nothing more comes out once a stop string is found.
  std::string push(std::string_view text);

  /// What was held back; the text ends here without a stop string.
  std::string finish();

  /// The stop string that was found.
  const std::optional<std::string>& matched() const noexcept { return matched_; }

 private:
  struct Pattern {
    std::string text;
    std::vector<std::size_t> borders;  ///< Of each prefix: its longest proper prefix and suffix.
    std::size_t state = 0;             ///< Length of the longest prefix that the text ends with.
  };

  static void advance(Pattern& pattern, char c);

  std::vector<Pattern> patterns_;
  std::string held_;
  std::optional<std::string> matched_;
};

}  // namespace tessera
