#include "coordinator/text/token_decoder.h"

#include <algorithm>
#include <optional>

#include "coordinator/text/byte_alphabet.h"

namespace tessera {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

std::optional<unsigned> hex_digit(char c) noexcept {
  if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0');
  if (c >= 'a' && c <= 'f') return static_cast<unsigned>(c - 'a') + 10;
  if (c >= 'A' && c <= 'F') return static_cast<unsigned>(c - 'A') + 10;
  return std::nullopt;
}

// The byte of a token "<0xNN>". As in Rust's from_str_radix, "+N" is a number, too.
std::optional<char> byte_of_token(std::string_view text) noexcept {
  if (text.size() != 6 || !text.starts_with("<0x") || text.back() != '>') return std::nullopt;
  const std::optional<unsigned> high = text[3] == '+' ? 0U : hex_digit(text[3]);
  const std::optional<unsigned> low = hex_digit(text[4]);
  if (!high || !low) return std::nullopt;
  return static_cast<char>(*high * 16 + *low);
}

std::string applied(const ReplaceStep& rule, const std::string& text) {
  std::string out;
  rule.apply(text, out);
  return out;
}

std::string applied(const StripRule& rule, const std::string& text) {
  return std::string(rule.apply(text));
}

}  // namespace

std::string_view StripRule::apply(std::string_view text) const noexcept {
  for (std::int32_t i = 0; i < start && text.starts_with(content); ++i)
    text.remove_prefix(content.size());
  for (std::int32_t i = 0; i < stop && text.ends_with(content); ++i)
    text.remove_suffix(content.size());
  return text;
}

std::string apply_rules(const std::vector<TokenRule>& rules, std::string text) {
  for (const TokenRule& rule : rules) {
    text = std::visit([&](const auto& r) { return applied(r, text); }, rule);
  }
  return text;
}

TokenText decode_piece(const DecoderRules& rules, std::string_view piece) {
  if (rules.byte_level) return {bytes_of_piece(piece)};
  std::string text = apply_rules(rules.token_rules, std::string(piece));
  if (rules.byte_fallback) {
    if (const auto byte = byte_of_token(text)) return {std::string(1, *byte), /*is_byte=*/true};
  }
  return {apply_rules(rules.part_rules, std::move(text))};
}

void StripStream::push(std::string_view text, std::string& out) {
  const std::string& content = rule_->content;
  while (!text.empty()) {
    if (!text.starts_with(content)) {
      num_to_cut_ = 0;
      for (; num_held_ > 0; --num_held_) out += content;
      const std::size_t end = std::min(text.find(content), text.size());
      out.append(text, 0, end);
      text.remove_prefix(end);
      continue;
    }
    text.remove_prefix(content.size());
    if (num_to_cut_ > 0) {
      --num_to_cut_;
    } else if (num_held_ < rule_->stop) {
      ++num_held_;
    } else {
      out += content;
    }
  }
}

void TokenDecoder::restart() {
  strips_.clear();
  for (const StripRule& rule : rules_->text_rules) strips_.emplace_back(rule);
}

void TokenDecoder::emit(std::string_view part, std::string& out) {
  if (strips_.empty()) {
    out += part;
    return;
  }
  std::string text(part);
  std::string kept;
  for (StripStream& strip : strips_) {
    kept.clear();
    strip.push(text, kept);
    text.swap(kept);
  }
  out += text;
}

void TokenDecoder::flush_run(std::string& out) {
  if (run_.empty()) return;
  if (!find_invalid_utf8(run_)) {
    emit(apply_rules(rules_->part_rules, run_), out);
  } else {
    const std::string unknown = apply_rules(rules_->part_rules, std::string(kReplacement));
    for (std::size_t i = 0; i < run_.size(); ++i) emit(unknown, out);
  }
  run_.clear();
}

void TokenDecoder::push(std::string_view bytes, bool is_byte, std::string& out) {
  if (rules_->byte_level) {
    utf8_.push(bytes, out);
  } else if (is_byte) {
    run_ += bytes;
  } else {
    flush_run(out);
    emit(bytes, out);
  }
}

void TokenDecoder::finish(std::string& out) {
  utf8_.finish(out);
  flush_run(out);
  restart();
}

}  // namespace tessera
