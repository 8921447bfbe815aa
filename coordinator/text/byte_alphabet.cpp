#include "coordinator/text/byte_alphabet.h"

#include <array>
#include <cstddef>

#include "coordinator/text/utf8.h"

namespace tessera {
namespace {

constexpr char32_t kFirstStandIn = 0x100;
constexpr std::size_t kNumStandIns = 68;

constexpr bool stands_for_itself(int byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

struct Alphabet {
  std::array<char32_t, 256> char_of{};
  std::array<unsigned char, kNumStandIns> byte_of_stand_in{};
};

constexpr Alphabet make_alphabet() {
  Alphabet alphabet;
  std::size_t next = 0;
  for (int byte = 0; byte < 256; ++byte) {
    const auto index = static_cast<std::size_t>(byte);
    if (stands_for_itself(byte)) {
      alphabet.char_of[index] = static_cast<char32_t>(byte);
    } else {
      alphabet.char_of[index] = kFirstStandIn + static_cast<char32_t>(next);
      alphabet.byte_of_stand_in[next++] = static_cast<unsigned char>(byte);
    }
  }
  return alphabet;
}

constexpr Alphabet kAlphabet = make_alphabet();

}  // namespace

char32_t char_of_byte(unsigned char byte) noexcept {
  return kAlphabet.char_of[byte];
}

std::optional<unsigned char> byte_of_char(char32_t character) noexcept {
  if (character >= kFirstStandIn && character < kFirstStandIn + kNumStandIns) {
    return kAlphabet.byte_of_stand_in[character - kFirstStandIn];
  }
  if (character < kFirstStandIn && stands_for_itself(static_cast<int>(character))) {
    return static_cast<unsigned char>(character);
  }
  return std::nullopt;
}

std::string bytes_of_piece(std::string_view piece) {
  std::string bytes;
  for (std::size_t i = 0; i < piece.size();) {
    const auto byte = byte_of_char(next_code_point(piece, i));
    if (!byte) return std::string(piece);
    bytes.push_back(static_cast<char>(*byte));
  }
  return bytes;
}

}  // namespace tessera
