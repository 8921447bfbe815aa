#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "coordinator/text/regex.h"

namespace tessera {

/// What becomes of the matches of a pattern that splits text. Names as in the file.
enum class SplitBehavior : std::uint8_t {
  kRemoved,             ///< Matches vanish; what is between them stays.
  kIsolated,            ///< A match is a piece, what is between matches is a piece.
  kMergedWithPrevious,  ///< A match ends the piece before it.
  kMergedWithNext,      ///< A match begins the piece after it.
  kContiguous,          ///< As kIsolated, but touching matches are one piece.
};

/// Splits at the matches of `pattern`, or (`invert`) at what is between them.
struct SplitStep {
  Regex pattern;
  SplitBehavior behavior = SplitBehavior::kIsolated;
  bool invert = false;
};

/// Puts a space before every piece that has none.
struct PrefixSpaceStep {};

using PreTokenizerStep = std::variant<SplitStep, PrefixSpaceStep>;

/// Cuts normalised text into the words that BPE works on. Immutable, any thread.
class PreTokenizer {
 public:
  PreTokenizer() = default;  ///< Leaves text whole.
  explicit PreTokenizer(std::vector<PreTokenizerStep> steps) : steps_(std::move(steps)) {}

  /// Working memory of split(); reuse it for many texts.
  struct Workspace {
    std::vector<std::string_view> words;  ///< The result.
    std::vector<std::string_view> next;
    std::vector<TextRange> matches;
    std::deque<std::string> storage;  ///< Words that are no substring of the text.
  };

  /// Words of `text` (well-formed UTF-8), none empty, into `work.words`. They borrow `text` and
  /// `work`.
  void split(std::string_view text, Workspace& work) const;

 private:
  std::vector<PreTokenizerStep> steps_;
};

}  // namespace tessera
