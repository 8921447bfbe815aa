#pragma once

#include <span>
#include <string_view>

namespace tessera {

/// The candidate with the fewest edits (insertion, removal, replacement of a character) from
/// `name`; the first of equals; empty if there are no candidates.
std::string_view nearest_name(std::string_view name, std::span<const std::string_view> candidates);

}  // namespace tessera
