#include "coordinator/cli/bench/problem.h"

#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "common/base/error.h"

namespace tessera {
namespace {

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kWhiteSpace = " \t\r\n\f\v";
  const std::size_t begin = text.find_first_not_of(kWhiteSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kWhiteSpace) - begin + 1);
}

std::optional<std::string> optional_text(const nlohmann::json& line, const char* field) {
  if (!line.contains(field)) return std::nullopt;
  return line.at(field).get<std::string>();
}

Problem problem_of(const nlohmann::json& line, std::size_t number) {
  Problem problem;
  problem.id = line.value("id", std::to_string(number));
  problem.task = line.value("task", "");
  problem.question = line.at("question").get<std::string>();
  problem.answer = optional_text(line, "answer");
  problem.final_answer = optional_text(line, "final");
  return problem;
}

}  // namespace

std::vector<Problem> read_problems(const std::filesystem::path& path) {
  std::ifstream file(path);
  TESSERA_REQUIRE(file.is_open(), "cannot read the data set ", path.string());
  std::vector<Problem> problems;
  std::string line;
  for (std::size_t number = 1; std::getline(file, line); ++number) {
    if (trimmed(line).empty()) continue;
    try {
      problems.push_back(problem_of(nlohmann::json::parse(line), number));
    } catch (const nlohmann::json::exception& error) {
      throw Error(ErrorCode::kInvalidArgument,
                  detail::concat(path.string(), ":", number,
                                 ": not an object with the text \"question\": ", error.what()));
    }
  }
  TESSERA_REQUIRE(!problems.empty(), "the data set ", path.string(), " is empty");
  return problems;
}

std::optional<bool> grade(const Problem& problem, std::string_view text) {
  constexpr std::string_view kMark = "####";
  if (problem.task.starts_with("word.") && problem.final_answer) {
    const std::size_t mark = text.rfind(kMark);
    if (mark == std::string_view::npos) return false;
    return trimmed(text.substr(mark + kMark.size())) == trimmed(*problem.final_answer);
  }
  if (!problem.answer) return std::nullopt;
  return trimmed(text) == trimmed(*problem.answer);
}

std::vector<Problem> random_problems(std::int32_t count,
                                     std::int32_t input_len,
                                     const std::vector<std::int32_t>& vocabulary,
                                     std::uint64_t seed) {
  TESSERA_REQUIRE(!vocabulary.empty(), "no token ids to make prompts of");
  std::mt19937_64 generator(seed);
  std::vector<Problem> problems(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < problems.size(); ++i) {
    problems[i].id = "random-" + std::to_string(i);
    for (std::int32_t position = 0; position < input_len; ++position) {
      problems[i].token_ids.push_back(vocabulary[generator() % vocabulary.size()]);
    }
  }
  return problems;
}

}  // namespace tessera
