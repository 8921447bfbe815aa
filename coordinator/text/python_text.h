#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// What Python's `str` does to text, on well-formed UTF-8. Positions and lengths are in code
/// points, as there. Upper and lower case map single characters (no "ß" -> "SS").
namespace tessera::python {

/// Ends of a text that strip() looks at.
enum class Side : std::uint8_t { kLeft, kRight, kBoth };

/// Without the characters of `chars` (white space if none are given) at the ends.
std::string_view strip(std::string_view text,
                       Side side = Side::kBoth,
                       std::optional<std::string_view> chars = std::nullopt);

/// At most `max_splits` cuts (negative: no limit) from the left or the right. Without a separator:
/// at runs of white space, no empty parts. `separator` must not be empty.
std::vector<std::string> split(std::string_view text,
                               std::optional<std::string_view> separator,
                               std::int64_t max_splits = -1,
                               bool from_right = false);

std::vector<std::string> split_lines(std::string_view text, bool keep_ends);

/// The first `max_count` (negative: all) occurrences of `from` replaced by `to`.
std::string replace(std::string_view text,
                    std::string_view from,
                    std::string_view to,
                    std::int64_t max_count = -1);

std::string upper(std::string_view text);
std::string lower(std::string_view text);
std::string title(std::string_view text);       ///< str.title: every run of letters.
std::string capitalize(std::string_view text);  ///< First character up, all others down.

bool is_space(std::string_view text);  ///< Not empty and white space throughout, so the next ones:
bool is_digit(std::string_view text);
bool is_alpha(std::string_view text);
bool is_alnum(std::string_view text);
bool is_upper(std::string_view text);  ///< Some cased letter, none of the other case.
bool is_lower(std::string_view text);

/// The code points one by one.
std::vector<std::string> characters(std::string_view text);

/// The literal that repr() prints: quotes chosen and escapes made as Python does.
std::string repr(std::string_view text);

/// The shortest decimal that reads back as `value`, laid out as Python does ("1e+16", "0.1",
/// "3.0").
std::string repr(double value);

}  // namespace tessera::python
