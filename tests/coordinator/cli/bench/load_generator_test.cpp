#include "coordinator/cli/bench/load_generator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/coordinator/cli/bench/scripted_server.h"

namespace tessera {
namespace {

using ::testing::HasSubstr;
using testing::ScriptedServer;

constexpr const char* kStreamHead =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
constexpr const char* kText =
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"4\"},\"token_ids\":[7, 8]}]}\n\n";
constexpr const char* kUsage =
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\n";
constexpr const char* kDone = "data: [DONE]\n\n";

std::string stream_of(const std::vector<std::string>& events) {
  std::string answer = kStreamHead;
  for (const std::string& event : events) answer += event;
  return answer;
}

/// What becomes of requests that are sent one after the other and answered by the script.
std::vector<RequestTrace> traces_of(const std::vector<std::string>& answers) {
  ScriptedServer server(answers);
  const RequestOptions options;
  const SystemClock clock;
  HttpCall base;
  base.server = {"127.0.0.1", std::to_string(server.port()), ""};
  Problem problem{"id", "copy", "2 + 2?", {}, "4", {}};
  const std::vector<Problem> problems(answers.size(), problem);
  std::size_t num_finished = 0;
  auto result =
      LoadGenerator(base, options, clock).run(problems, {1, std::nullopt}, 0, [&](const auto&) {
        ++num_finished;
      });
  EXPECT_EQ(num_finished, answers.size());
  return std::move(result.requests);
}

TEST(LoadGeneratorTest, AWholeStreamIsASuccessWithItsAnswerGraded) {
  const auto traces = traces_of({stream_of({kText, kUsage, kDone})});
  EXPECT_TRUE(traces[0].is_ok()) << traces[0].failure << ": " << traces[0].failure_detail;
  EXPECT_EQ(traces[0].is_right, true);
  ASSERT_EQ(traces[0].commits.size(), 1u);
  EXPECT_EQ(traces[0].commits[0].num_tokens, 2);
  EXPECT_GE(traces[0].ended, traces[0].commits[0].at);
}

TEST(LoadGeneratorTest, EveryWayToFailHasItsKind) {
  struct Case {
    std::string answer;
    std::string kind;
    std::string detail;
  };
  const std::vector<Case> cases = {
      {"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 57\r\n\r\n"
       "{\"error\": {\"code\": \"queue_full\", \"message\": \"try later\"}}",
       "HTTP 429 queue_full", "try later"},
      {"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 4\r\n\r\noops", "HTTP 502", "oops"},
      {stream_of({kText, kUsage}), "cut stream", "[DONE]"},
      {"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 9999\r\n\r\n",
       "cut stream", "reading"},
      {stream_of({kText, kDone}), "no usage", "usage"},
      {stream_of({kText, "data: {\"error\":{\"message\":\"rank lost\"}}\n\n"}),
       "error in the stream", "rank lost"},
      {stream_of({"data: <html>\n\n", kDone}), "protocol", "<html>"},
      {"", "connection", "end of stream"}};
  std::vector<std::string> answers;
  for (const Case& c : cases) answers.push_back(c.answer);
  const auto traces = traces_of(answers);
  for (std::size_t i = 0; i < cases.size(); ++i) {
    EXPECT_EQ(traces[i].failure, cases[i].kind);
    EXPECT_THAT(traces[i].failure_detail, HasSubstr(cases[i].detail));
    EXPECT_EQ(traces[i].is_right, std::nullopt) << "a failure is not a wrong answer";
  }
}

TEST(CallForTest, SendsWhatWasAskedForAndNothingElse) {
  RequestOptions options;
  const Problem question{"id", "", "2 + 2?", {}, {}, {}};
  const HttpCall plain = call_for(question, options, {});
  EXPECT_EQ(plain.target, "/v1/chat/completions");
  EXPECT_EQ(nlohmann::json::parse(plain.body), nlohmann::json::parse(R"({
      "model": "default", "messages": [{"role": "user", "content": "2 + 2?"}], "stream": true,
      "stream_options": {"include_usage": true}, "return_token_ids": true})"));

  options.max_tokens = 9;
  options.temperature = 0.5;
  options.seed = 18446744073709551615U;
  options.ignore_eos = true;
  options.decoding = {{"block_size", 8}};
  const HttpCall call = call_for({"id", "", "", {5, 6}, {}, {}}, options, {});
  EXPECT_EQ(call.target, "/v1/completions");
  const auto body = nlohmann::json::parse(call.body);
  EXPECT_EQ(body.at("prompt"), nlohmann::json::parse("[5, 6]"));
  EXPECT_EQ(body.at("seed"), 18446744073709551615U);
  EXPECT_EQ(body.at("decoding").at("block_size"), 8);
  EXPECT_FALSE(body.contains("top_p"));
}

}  // namespace
}  // namespace tessera
