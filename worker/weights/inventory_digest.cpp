#include "worker/weights/inventory_digest.h"

#include <array>
#include <cinttypes>
#include <cstdio>

namespace tessera {

std::uint64_t hash_text(std::string_view text) {
  std::uint64_t hash = 0xCBF29CE484222325U;
  for (const char c : text) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3U;
  }
  return hash;
}

std::string text_digest(std::string_view text) {
  std::array<char, 17> digits{};
  std::snprintf(digits.data(), digits.size(), "%016" PRIx64, hash_text(text));
  return digits.data();
}

}  // namespace tessera
