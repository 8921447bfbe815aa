#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tessera {

/// One prompt to send: a question for the chat route, or token ids for the completion route.
struct Problem {
  std::string id;
  std::string task;      ///< "word.farm"; empty for random prompts.
  std::string question;  ///< Unused if there are token_ids.
  std::vector<std::int32_t> token_ids;
  std::optional<std::string> answer;
  std::optional<std::string> final_answer;  ///< "final" in the file.
};

/// Reads a JSONL file: {id, task, question, answer, final}, where only question is required.
/// @throws Error{kInvalidArgument} naming file and line; for an empty file.
std::vector<Problem> read_problems(const std::filesystem::path& path);

/// Whether `text` answers the problem; white space around it is ignored. Of tasks "word.*" the text
/// behind the last "####" counts, which must equal `final`; of others the whole text.
/// @return None if the problem has no answer.
std::optional<bool> grade(const Problem& problem, std::string_view text);

/// Prompts of `input_len` token ids drawn from `vocabulary` by `seed`: no two are
/// alike, so that a prefix cache finds nothing.
std::vector<Problem> random_problems(std::int32_t count,
                                     std::int32_t input_len,
                                     const std::vector<std::int32_t>& vocabulary,
                                     std::uint64_t seed);

}  // namespace tessera
