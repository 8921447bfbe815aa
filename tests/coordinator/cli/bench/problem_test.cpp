#include "coordinator/cli/bench/problem.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <set>

#include "common/base/error.h"

namespace tessera {
namespace {

using ::testing::HasSubstr;

Problem problem_with(const std::string& task, const std::string& answer, const std::string& final) {
  return {"id", task, "question", {}, answer, final};
}

std::filesystem::path file_with(const std::string& name, const std::string& content) {
  const auto path = std::filesystem::path(::testing::TempDir()) / name;
  std::ofstream(path) << content;
  return path;
}

TEST(GradeTest, AWordProblemIsJudgedByWhatStandsBehindTheMark) {
  const Problem problem = problem_with("word.farm", "Some reasoning\n#### 220", "220");
  EXPECT_EQ(grade(problem, "Other reasoning\n#### 220"), true);
  EXPECT_EQ(grade(problem, "#### 12 and then #### 220 \n"), true);
  EXPECT_EQ(grade(problem, "Other reasoning\n#### 221"), false);
  EXPECT_EQ(grade(problem, "220"), false) << "the mark is missing";
  EXPECT_EQ(grade(problem, ""), false);
}

TEST(GradeTest, OtherTasksAreJudgedByTheWholeText) {
  const Problem problem = problem_with("copy", "kettle 869 jacket", "kettle 869 jacket");
  EXPECT_EQ(grade(problem, "\tkettle 869 jacket\n"), true);
  EXPECT_EQ(grade(problem, "kettle 869"), false);
  EXPECT_EQ(grade(problem, "#### kettle 869 jacket"), false);
}

TEST(GradeTest, WithoutAnAnswerThereIsNoJudgement) {
  EXPECT_EQ(grade({"id", "chat", "question", {}, {}, {}}, "anything"), std::nullopt);
}

TEST(ReadProblemsTest, OnlyTheQuestionIsRequired) {
  const auto problems = read_problems(file_with("ok.jsonl",
                                                "{\"question\": \"a\"}\n\n"
                                                "{\"id\": \"x\", \"task\": \"copy\", \"question\": "
                                                "\"b\", \"answer\": \"c\", \"final\": \"d\"}\n"));
  ASSERT_EQ(problems.size(), 2u);
  EXPECT_EQ(problems[0].question, "a");
  EXPECT_FALSE(problems[0].answer.has_value());
  EXPECT_EQ(problems[1].id, "x");
  EXPECT_EQ(problems[1].answer, "c");
  EXPECT_EQ(problems[1].final_answer, "d");
}

TEST(ReadProblemsTest, ErrorsNameFileAndLine) {
  const auto message_of = [](const std::filesystem::path& path) -> std::string {
    try {
      read_problems(path);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_THAT(message_of(file_with("bad.jsonl", "{\"question\": \"a\"}\n{\"id\": \"x\"}\n")),
              HasSubstr("bad.jsonl:2"));
  EXPECT_THAT(message_of(file_with("none.jsonl", "\n")), HasSubstr("none.jsonl is empty"));
  EXPECT_THAT(message_of("/nowhere.jsonl"), HasSubstr("/nowhere.jsonl"));
}

TEST(RandomProblemsTest, HaveTheLengthAskedForAndAreNeverAlike) {
  const std::vector<std::int32_t> vocabulary = {11, 13, 17, 19, 23, 29};
  std::set<std::vector<std::int32_t>> seen;
  for (const std::uint64_t seed : {1, 2}) {
    for (const Problem& problem : random_problems(50, 24, vocabulary, seed)) {
      EXPECT_EQ(problem.token_ids.size(), 24u);
      EXPECT_TRUE(seen.insert(problem.token_ids).second);
      for (const std::int32_t id : problem.token_ids)
        EXPECT_THAT(vocabulary, ::testing::Contains(id));
    }
  }
  const auto again = random_problems(50, 24, vocabulary, 1);
  EXPECT_TRUE(seen.contains(again[49].token_ids));
}

}  // namespace
}  // namespace tessera
