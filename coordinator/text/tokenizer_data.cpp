#include "coordinator/text/tokenizer_data.h"

#include <algorithm>
#include <optional>
#include <unordered_set>

#include "coordinator/text/byte_alphabet.h"
#include "coordinator/text/json_field.h"
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
    tokens[index].piece = piece;
    id_of.emplace(piece, id);
  }

  std::optional<TokenId> find(const std::string& piece) const {
    const auto it = id_of.find(piece);
    return it == id_of.end() ? std::nullopt : std::optional(it->second);
  }

  TokenId require_id(const std::string& piece, const std::string& path) const {
    const auto id = find(piece);
    TESSERA_REQUIRE(id, path, ": \"", piece, "\" is not in model.vocab");
    return *id;
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
ByteSymbols read_byte_symbols(const Vocabulary& vocabulary, const std::string& path) {
  ByteTokens ids{};
  for (std::size_t byte = 0; byte < ids.size(); ++byte) {
    std::string piece;
    append_utf8(piece, char_of_byte(static_cast<unsigned char>(byte)));
    const auto id = vocabulary.find(piece);
    const bool in_utf8 = byte < 0xC0 || (byte >= 0xC2 && byte <= 0xF4);
    TESSERA_REQUIRE(id || !in_utf8, path, " has no token \"", piece, "\" for byte ", byte,
                    ": it is not a byte-level vocabulary");
    ids[byte] = id.value_or(-1);
  }
  return ByteSymbols(ids);
}

CharacterSymbols read_character_symbols(const JsonField& model, const Vocabulary& vocabulary) {
  std::vector<std::pair<char32_t, TokenId>> characters;
  for (const auto& [piece, id] : vocabulary.id_of) {
    std::size_t end = 0;
    const char32_t character = next_code_point(piece, end);
    if (end == piece.size()) characters.emplace_back(character, id);
  }
  ByteTokens bytes;
  bytes.fill(-1);
  if (model.member("byte_fallback").boolean_or(false)) {
    constexpr std::string_view kDigits = "0123456789ABCDEF";
    for (std::size_t byte = 0; byte < bytes.size(); ++byte) {
      const std::string piece = {'<', '0', 'x', kDigits[byte >> 4U], kDigits[byte & 0xFU], '>'};
      bytes[byte] = vocabulary.find(piece).value_or(-1);
    }
  }
  std::optional<TokenId> unknown;
  const JsonField token = model.member("unk_token");
  if (!token.is_null()) unknown = vocabulary.require_id(token.string(), token.path());
  return {characters, bytes, unknown, model.member("fuse_unk").boolean_or(false)};
}

std::vector<Bpe::Edges> edges_of(const std::vector<TokenEntry>& tokens) {
  std::vector<Bpe::Edges> edges(tokens.size());
  for (std::size_t id = 0; id < tokens.size(); ++id) {
    const std::string_view piece = tokens[id].piece;
    for (std::size_t i = 0; i < piece.size();) {
      const bool is_first = i == 0;
      edges[id].last = next_code_point(piece, i);
      if (is_first) edges[id].first = edges[id].last;
    }
  }
  return edges;
}

// Words that are looked up whole, as the model sees them: in bytes if it is byte level.
std::vector<Bpe::Word> whole_words(const std::vector<TokenEntry>& tokens, bool byte_level) {
  std::vector<Bpe::Word> words;
  words.reserve(tokens.size());
  for (std::size_t id = 0; id < tokens.size(); ++id) {
    const std::string& piece = tokens[id].piece;
    if (!byte_level) {
      words.push_back({piece, static_cast<TokenId>(id)});
      continue;
    }
    const std::string bytes = bytes_of_piece(piece);
    std::string spelled;  // Pieces outside the byte alphabet stand for no word.
    for (const char c : bytes) {
      append_utf8(spelled, char_of_byte(static_cast<unsigned char>(c)));
    }
    if (spelled == piece) words.push_back({bytes, static_cast<TokenId>(id)});
  }
  return words;
}

void require_absent(const JsonField& model, const std::string& option) {
  const JsonField field = model.member(option);
  const bool absent = field.is_null() || field.value() == "" || field.value() == false ||
                      (field.value().is_number() && field.value() == 0);
  TESSERA_REQUIRE(absent, field.path(), " is ", field.value().dump(), ", which is not supported");
}

Bpe read_bpe(const JsonField& model, bool byte_level, Vocabulary& vocabulary) {
  const std::string type = model.member("type").string_or("BPE");
  TESSERA_REQUIRE(type == "BPE", model.path(), " has type \"", type, "\", only BPE is supported");
  for (const char* option : {"dropout", "continuing_subword_prefix", "end_of_word_suffix"}) {
    require_absent(model, option);
  }
  const JsonField vocab = model.member("vocab");
  read_vocab(vocab, vocabulary);
  BpeSymbols symbols = byte_level ? BpeSymbols(read_byte_symbols(vocabulary, vocab.path()))
                                  : BpeSymbols(read_character_symbols(model, vocabulary));
  Bpe::Rules rules{.symbols = std::move(symbols),
                   .merges = read_merges(model.member("merges"), vocabulary),
                   .edges = edges_of(vocabulary.tokens),
                   .words = {},
                   .ignore_merges = model.member("ignore_merges").boolean_or(false)};
  // Without byte level a word is often the whole text, which is no token.
  if (byte_level || rules.ignore_merges) rules.words = whole_words(vocabulary.tokens, byte_level);
  return Bpe(std::move(rules));
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

// Fills in what tokens are in decoded text. There the library spells an added token that is looked
// for in normalised text in its normalised form, and leaves out what is spelled like some special
// token: one whose normalised form differs is not left out. @return The ids of special tokens.
std::vector<TokenId> set_texts(const DecoderRules& decoder,
                               const std::vector<AddedToken>& normalized,
                               Vocabulary& vocabulary) {
  std::vector<TokenId> special_ids;
  std::unordered_set<std::string_view> special_pieces;
  for (std::size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    if (!vocabulary.tokens[id].special) continue;
    special_ids.push_back(static_cast<TokenId>(id));
    special_pieces.insert(vocabulary.tokens[id].piece);
  }
  const auto set_text = [&](TokenEntry& token, const std::string& spelling) {
    token.text = decode_piece(decoder, spelling);
    token.skipped = special_pieces.contains(spelling);
  };
  for (TokenEntry& token : vocabulary.tokens) set_text(token, token.piece);
  for (const AddedToken& token : normalized) {
    set_text(vocabulary.tokens[static_cast<std::size_t>(token.id)], token.content);
  }
  return special_ids;
}

}  // namespace

TokenizerData read_tokenizer_data(std::string_view json, const std::string& name) {
  const nlohmann::json document = parse_json(json, name);
  const JsonField root(document, name);
  WordSplitting splitting = read_pre_tokenizer(root.member("pre_tokenizer"));
  DecoderRules decoder = read_decoder(root.member("decoder"));
  TESSERA_REQUIRE(splitting.byte_level == decoder.byte_level, name, ": ",
                  splitting.byte_level ? "pre_tokenizer" : "decoder", " is ByteLevel, but ",
                  splitting.byte_level ? "decoder" : "pre_tokenizer",
                  " is not: it must be both or neither");
  Vocabulary vocabulary;
  Bpe bpe = read_bpe(root.member("model"), splitting.byte_level, vocabulary);
  std::vector<AddedToken> raw = read_added_tokens(root.member("added_tokens"), vocabulary);
  Normalizer normalizer = read_normalizer(root.member("normalizer"));
  std::vector<AddedToken> normalized;
  Normalizer::Workspace work;
  for (AddedToken& token : raw) {
    if (!token.normalized) continue;
    token.content = normalizer.apply(token.content, work);
    normalized.push_back(token);
  }
  std::erase_if(raw, [](const AddedToken& token) { return token.normalized; });
  const JsonField post_processor = root.member("post_processor");
  SurroundingTokens around = read_post_processor(post_processor);
  require_known(around.prefix, vocabulary, post_processor);
  require_known(around.suffix, vocabulary, post_processor);

  const std::vector<TokenId> special_ids = set_texts(decoder, normalized, vocabulary);
  return {std::move(vocabulary.tokens),
          std::move(vocabulary.id_of),
          special_ids,
          AddedTokenFinder(std::move(raw)),
          AddedTokenFinder(std::move(normalized)),
          std::move(normalizer),
          std::move(splitting.pre_tokenizer),
          std::move(bpe),
          std::move(decoder),
          std::move(around.prefix),
          std::move(around.suffix)};
}

}  // namespace tessera
