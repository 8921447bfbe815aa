#include "coordinator/text/utf8.h"

namespace tessera {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

// What may follow a lead byte: the length of the sequence and the range of its second byte. The
// ranges shut out overlong forms, surrogates and code points above U+10FFFF (Unicode, table 3-7).
struct Lead {
  int length = 0;  // 0: no lead byte
  unsigned char low = 0x80;
  unsigned char high = 0xBF;
};

constexpr Lead lead_of(unsigned char byte) noexcept {
  if (byte < 0x80) return {1};
  if (byte >= 0xC2 && byte <= 0xDF) return {2};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};
  if (byte == 0xED) return {3, 0x80, 0x9F};
  if (byte >= 0xE1 && byte <= 0xEF) return {3};
  if (byte == 0xF0) return {4, 0x90, 0xBF};
  if (byte >= 0xF1 && byte <= 0xF3) return {4};
  if (byte == 0xF4) return {4, 0x80, 0x8F};
  return {};
}

}  // namespace

std::optional<std::size_t> find_invalid_utf8(std::string_view text) noexcept {
  std::size_t i = 0;
  while (i < text.size()) {
    const Lead lead = lead_of(static_cast<unsigned char>(text[i]));
    if (lead.length == 0 || i + static_cast<std::size_t>(lead.length) > text.size()) return i;
    for (int k = 1; k < lead.length; ++k) {
      const auto byte = static_cast<unsigned char>(text[i + static_cast<std::size_t>(k)]);
      const unsigned char low = k == 1 ? lead.low : 0x80;
      const unsigned char high = k == 1 ? lead.high : 0xBF;
      if (byte < low || byte > high) return i;
    }
    i += static_cast<std::size_t>(lead.length);
  }
  return std::nullopt;
}

void append_utf8(std::string& out, char32_t code_point) {
  const auto c = static_cast<std::uint32_t>(code_point);
  const auto continuation = [&](int shift) {
    out.push_back(static_cast<char>(0x80U | ((c >> shift) & 0x3FU)));
  };
  if (c < 0x80) {
    out.push_back(static_cast<char>(c));
  } else if (c < 0x800) {
    out.push_back(static_cast<char>(0xC0U | (c >> 6)));
    continuation(0);
  } else if (c < 0x10000) {
    out.push_back(static_cast<char>(0xE0U | (c >> 12)));
    continuation(6);
    continuation(0);
  } else {
    out.push_back(static_cast<char>(0xF0U | (c >> 18)));
    continuation(12);
    continuation(6);
    continuation(0);
  }
}

char32_t next_code_point(std::string_view text, std::size_t& offset) noexcept {
  const auto byte = [&](std::size_t k) {
    return static_cast<char32_t>(static_cast<unsigned char>(text[offset + k]));
  };
  const char32_t first = byte(0);
  char32_t code_point = first;
  std::size_t length = 1;
  if (first >= 0xF0) {
    code_point =
        (first & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F);
    length = 4;
  } else if (first >= 0xE0) {
    code_point = (first & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F);
    length = 3;
  } else if (first >= 0xC0) {
    code_point = (first & 0x1F) << 6 | (byte(1) & 0x3F);
    length = 2;
  }
  offset += length;
  return code_point;
}

std::size_t count_code_points(std::string_view text) noexcept {
  std::size_t count = 0;
  for (const char c : text) count += (static_cast<unsigned char>(c) & 0xC0U) != 0x80U;
  return count;
}

void Utf8Decoder::push(std::string_view bytes, std::string& out) {
  for (const char c : bytes) push_byte(static_cast<unsigned char>(c), out);
}

void Utf8Decoder::push_byte(unsigned char byte, std::string& out) {
  if (num_pending_ > 0) {
    const Lead lead = lead_of(static_cast<unsigned char>(pending_[0]));
    const unsigned char low = num_pending_ == 1 ? lead.low : 0x80;
    const unsigned char high = num_pending_ == 1 ? lead.high : 0xBF;
    if (byte >= low && byte <= high) {
      pending_[static_cast<std::size_t>(num_pending_++)] = static_cast<char>(byte);
      if (num_pending_ == lead.length) {
        out.append(pending_.data(), static_cast<std::size_t>(num_pending_));
        num_pending_ = 0;
      }
      return;
    }
    // The sequence ends before this byte, which then starts anew.
    out.append(kReplacement);
    num_pending_ = 0;
  }
  const Lead lead = lead_of(byte);
  if (lead.length == 1) {
    out.push_back(static_cast<char>(byte));
  } else if (lead.length == 0) {
    out.append(kReplacement);
  } else {
    pending_[0] = static_cast<char>(byte);
    num_pending_ = 1;
  }
}

void Utf8Decoder::finish(std::string& out) {
  if (num_pending_ > 0) out.append(kReplacement);
  num_pending_ = 0;
}

}  // namespace tessera
