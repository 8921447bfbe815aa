#include "coordinator/text/tokenizer_data.h"

#include <algorithm>
#include <array>

#include "coordinator/text/byte_alphabet.h"
#include "coordinator/text/json_field.h"
#include "coordinator/text/normalizer.h"
#include "coordinator/text/tokenizer_components.h"
#include "coordinator/text/utf8.h"

namespace tessera {
namespace {

// Larger than any published vocabulary. Ids index tables, so a lying id must not size one.
constexpr std::int64_t kMaxTokenId = (1 << 24) - 1;
constexpr std::size_t kMaxHoles = 1 << 16;

// Tokens by id while the file is read.
class Vocabulary {
 public:
  void add(TokenId id, const std::string& piece, const std::string& path) {
    TESSERA_REQUIRE(!piece.empty(), path, " is an empty token");
    const auto index = static_cast<std::size_t>(id);
    if (index >= tokens.size()) tokens.resize(index + 1);
    TESSERA_REQUIRE(tokens[index].piece.empty(), path, " has id ", id, ", which is that of \"",
                    tokens[index].piece, "\" already");
    tokens[index] = {piece, bytes_of_piece(piece), /*special=*/false};
    id_of.emplace(piece, id);
  }

  TokenId require_id(const std::string& piece, const std::string& path) const {
    const auto it = id_of.find(piece);
    TESSERA_REQUIRE(it != id_of.end(), path, ": \"", piece, "\" is not in model.vocab");
    return it->second;
  }

  std::vector<TokenEntry> tokens;
  std::unordered_map<std::string, TokenId> id_of;
};

void read_vocab(const JsonField& field, Vocabulary& vocabulary) {
  const std::size_t count = field.object().size();
  TESSERA_REQUIRE(count > 0, field.path(), " is empty");
  for (const auto& [piece, value] : field.object().items()) {
    const JsonField id = field.member(piece);
    vocabulary.add(static_cast<TokenId>(id.integer(0, kMaxTokenId)), piece, id.path());
  }
  TESSERA_REQUIRE(vocabulary.tokens.size() <= 2 * count + kMaxHoles, field.path(), " has ", count,
                  " tokens but ids up to ", vocabulary.tokens.size() - 1);
}

// A merge is "left right" or ["left", "right"].
std::pair<std::string, std::string> read_pair(const JsonField& field) {
  if (field.value().is_array()) {
    TESSERA_REQUIRE(field.array().size() == 2, field.path(), " has ", field.array().size(),
                    " members, must have 2");
    return {field.element(0).string(), field.element(1).string()};
  }
  const std::string& text = field.string();
  const std::size_t space = text.find(' ');
  TESSERA_REQUIRE(space != std::string::npos && text.find(' ', space + 1) == std::string::npos,
                  field.path(), " is \"", text, "\", must be two tokens with one space between");
  return {text.substr(0, space), text.substr(space + 1)};
}

std::vector<Bpe::Merge> read_merges(const JsonField& field, const Vocabulary& vocabulary) {
  std::vector<Bpe::Merge> merges;
  const std::size_t count = field.array().size();
  merges.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    const JsonField item = field.element(i);
    const auto [left, right] = read_pair(item);
    merges.push_back({vocabulary.require_id(left, item.path()),
                      vocabulary.require_id(right, item.path()),
                      vocabulary.require_id(left + right, item.path())});
  }
  return merges;
}

// Every byte that can occur in UTF-8 must be a token, or text would be lost.
std::array<TokenId, 256> find_byte_tokens(const Vocabulary& vocabulary, const std::string& path) {
  std::array<TokenId, 256> ids{};
  ids.fill(-1);
  for (std::size_t byte = 0; byte < 256; ++byte) {
    std::string piece;
    append_utf8(piece, char_of_byte(static_cast<unsigned char>(byte)));
    const auto it = vocabulary.id_of.find(piece);
    const bool in_utf8 = byte < 0xC0 || (byte >= 0xC2 && byte <= 0xF4);
    TESSERA_REQUIRE(it != vocabulary.id_of.end() || !in_utf8, path, " has no token \"", piece,
                    "\" for byte ", byte, ": it is not a byte-level vocabulary");
    if (it != vocabulary.id_of.end()) ids[byte] = it->second;
  }
  return ids;
}

void require_absent(const JsonField& model, const std::string& option) {
  const JsonField field = model.member(option);
  const bool absent = field.is_null() || field.value() == "" || field.value() == false ||
                      (field.value().is_number() && field.value() == 0);
  TESSERA_REQUIRE(absent, field.path(), " is ", field.value().dump(), ", which is not supported");
}

Bpe read_bpe(const JsonField& model, Vocabulary& vocabulary) {
  const std::string type = model.member("type").string_or("BPE");
  TESSERA_REQUIRE(type == "BPE", model.path(), " has type \"", type, "\", only BPE is supported");
  for (const char* option :
       {"dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"}) {
    require_absent(model, option);
  }
  read_vocab(model.member("vocab"), vocabulary);
  const auto merges = read_merges(model.member("merges"), vocabulary);
  const auto byte_tokens = find_byte_tokens(vocabulary, model.member("vocab").path());

  std::vector<Bpe::Word> words;
  words.reserve(vocabulary.tokens.size());
  for (std::size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    const TokenEntry& token = vocabulary.tokens[id];
    std::string spelled;  // Pieces outside the byte alphabet stand for no word.
    for (const char c : token.bytes) {
      append_utf8(spelled, char_of_byte(static_cast<unsigned char>(c)));
    }
    if (spelled == token.piece) words.push_back({token.bytes, static_cast<TokenId>(id)});
  }
  return Bpe(byte_tokens, merges, words, model.member("ignore_merges").boolean_or(false));
}

AddedToken read_added_token(const JsonField& field) {
  AddedToken token;
  token.id = static_cast<TokenId>(field.member("id").integer(0, kMaxTokenId));
  token.content = field.member("content").string();
  token.single_word = field.member("single_word").boolean_or(false);
  token.lstrip = field.member("lstrip").boolean_or(false);
  token.rstrip = field.member("rstrip").boolean_or(false);
  token.special = field.member("special").boolean_or(false);
  token.normalized = field.member("normalized").boolean_or(!token.special);
  return token;
}

// An added token that is in the vocabulary must have its id there; any other is a new token.
std::vector<AddedToken> read_added_tokens(const JsonField& field, Vocabulary& vocabulary) {
  std::vector<AddedToken> added;
  if (field.is_null()) return added;
  const std::size_t first_new = vocabulary.tokens.size();
  for (std::size_t i = 0; i < field.array().size(); ++i) {
    const JsonField item = field.element(i);
    AddedToken token = read_added_token(item);
    const auto known = vocabulary.id_of.find(token.content);
    if (known == vocabulary.id_of.end()) {
      TESSERA_REQUIRE(
          static_cast<std::size_t>(token.id) <= first_new + field.array().size() + kMaxHoles,
          item.path(), " has id ", token.id, ", far beyond the vocabulary of ", first_new);
      vocabulary.add(token.id, token.content, item.path());
    } else {
      TESSERA_REQUIRE(known->second == token.id, item.path(), " has id ", token.id, ", but \"",
                      token.content, "\" is token ", known->second);
    }
    if (token.special) vocabulary.tokens[static_cast<std::size_t>(token.id)].special = true;
    added.push_back(std::move(token));
  }
  return added;
}

void require_known(const std::vector<TokenId>& ids,
                   const Vocabulary& vocabulary,
                   const JsonField& field) {
  for (const TokenId id : ids) {
    const auto index = static_cast<std::size_t>(id);
    TESSERA_REQUIRE(index < vocabulary.tokens.size() && !vocabulary.tokens[index].piece.empty(),
                    field.path(), " uses token id ", id, ", which does not exist");
  }
}

}  // namespace

TokenizerData read_tokenizer_data(std::string_view json, const std::string& name) {
  const nlohmann::json document = parse_json(json, name);
  const JsonField root(document, name);
  Vocabulary vocabulary;
  Bpe bpe = read_bpe(root.member("model"), vocabulary);
  std::vector<AddedToken> raw = read_added_tokens(root.member("added_tokens"), vocabulary);
  const bool nfc = read_normalizer(root.member("normalizer"));
  std::vector<AddedToken> normalized;
  for (AddedToken& token : raw) {
    if (!token.normalized) continue;
    if (nfc) token.content = to_nfc(token.content);
    normalized.push_back(token);
  }
  std::erase_if(raw, [](const AddedToken& token) { return token.normalized; });
  const JsonField post_processor = root.member("post_processor");
  SurroundingTokens around = read_post_processor(post_processor);
  require_known(around.prefix, vocabulary, post_processor);
  require_known(around.suffix, vocabulary, post_processor);
  check_decoder(root.member("decoder"));

  std::vector<TokenId> special_ids;
  for (std::size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    if (vocabulary.tokens[id].special) special_ids.push_back(static_cast<TokenId>(id));
  }
  return {std::move(vocabulary.tokens),
          std::move(vocabulary.id_of),
          std::move(special_ids),
          AddedTokenFinder(std::move(raw)),
          AddedTokenFinder(std::move(normalized)),
          nfc,
          read_pre_tokenizer(root.member("pre_tokenizer")),
          std::move(bpe),
          std::move(around.prefix),
          std::move(around.suffix)};
}

}  // namespace tessera
