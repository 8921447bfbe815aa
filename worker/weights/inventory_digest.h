#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace tessera {

/// FNV-1a, 64 bits. For telling inventories and names apart, not against forgery.
std::uint64_t hash_text(std::string_view text);

/// hash_text as 16 hexadecimal digits.
std::string text_digest(std::string_view text);

}  // namespace tessera
