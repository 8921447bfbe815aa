#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "coordinator/text/regex.h"

namespace tessera {

/// Whether `text` (well-formed UTF-8) is certainly in normalisation form C. May be false for text
/// that is: a cheap test for the common case.
bool is_certainly_nfc(std::string_view text) noexcept;

/// Normalisation form C of well-formed UTF-8 (Unicode standard annex 15) as of Unicode 9, which is
/// what the Hugging Face tokenizers library has.
std::string to_nfc(std::string_view text);

/// Brings text to form C.
struct NfcStep {};

/// Puts `content` in the place of every match.
struct ReplaceStep {
  Regex pattern;
  std::string content;

  /// Appends `text` with its matches replaced.
  void apply(std::string_view text, std::string& out) const;
};

/// Puts `text` before a text that is not empty.
struct PrependStep {
  std::string text;
};

using NormalizerStep = std::variant<NfcStep, ReplaceStep, PrependStep>;

/// Changes text before it is cut into words. Immutable, any thread.
class Normalizer {
 public:
  Normalizer() = default;  ///< Leaves text alone.
  explicit Normalizer(std::vector<NormalizerStep> steps) : steps_(std::move(steps)) {}

  /// Working memory of apply(); reuse it for many texts.
  struct Workspace {
    std::string text;
    std::string next;
  };

  /// The normalised form of `text` (well-formed UTF-8). Borrows `text` or `work`.
  std::string_view apply(std::string_view text, Workspace& work) const;

 private:
  std::vector<NormalizerStep> steps_;
};

}  // namespace tessera
