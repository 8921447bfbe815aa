#include <gtest/gtest.h>

#include <string>

#include "coordinator/frontend/openai/parse_generation_request.h"

namespace tessera {
namespace {

using nlohmann::json;

Parsed<GenerationRequest> parse(const std::string& body, bool is_chat) {
  auto object = parse_json_object(body);
  if (auto* error = std::get_if<ApiError>(&object)) return *error;
  return is_chat ? parse_chat_request(std::get<json>(object))
                 : parse_completion_request(std::get<json>(object));
}

// A chat request with these members beside its messages.
std::string chat_with(const std::string& members) {
  return R"({"messages":[{"role":"user","content":"hi"}])" +
         (members.empty() ? "" : "," + members) + "}";
}

GenerationRequest accepted(const std::string& body, bool is_chat = true) {
  auto parsed = parse(body, is_chat);
  if (const auto* error = std::get_if<ApiError>(&parsed)) {
    ADD_FAILURE() << body << ": " << error->message;
    return {};
  }
  return std::get<GenerationRequest>(std::move(parsed));
}

ApiError refused(const std::string& body, bool is_chat = true) {
  auto parsed = parse(body, is_chat);
  if (const auto* error = std::get_if<ApiError>(&parsed)) return *error;
  ADD_FAILURE() << body << " was accepted";
  return {};
}

TEST(ParseRequestTest, BodiesThatAreNoJsonObjectAreMalformed) {
  const std::string bodies[] = {"",
                                "{",
                                "[]",
                                "3",
                                "{\"a\":1,}",
                                "{\"a\":\"\xff\"}",
                                "{\"a\":1e999}",
                                "{\"a\":" + std::string(100'000, '[') + "}",
                                R"({"a":"\ud800"})"};
  for (const std::string& body : bodies) {
    const ApiError error = refused(body);
    EXPECT_EQ(error.status, 400);
    EXPECT_EQ(error.code, "malformed_json") << body.substr(0, 40);
    EXPECT_EQ(error.type, "invalid_request_error");
    EXPECT_LT(error.message.size(), 300u);
  }
}

TEST(ParseRequestTest, AbsentAndNullFieldsStayAbsent) {
  for (const char* members : {"", R"("max_tokens":null,"temperature":null,"stop":null,"n":null,
       "tools":null,"logprobs":null,"stream":null,"decoding":null,"seed":null,"model":null)"}) {
    const GenerationRequest request = accepted(chat_with(members));
    ASSERT_TRUE(request.chat);
    EXPECT_EQ(request.chat->messages,
              nlohmann::ordered_json::parse(R"([{"role":"user","content":"hi"}])"));
    EXPECT_FALSE(request.max_tokens || request.temperature || request.seed || request.model);
    EXPECT_EQ(request.num_choices, 1);
    EXPECT_FALSE(request.stream);
    EXPECT_TRUE(request.stop.empty() && request.decoding.options.empty());
    EXPECT_TRUE(request.ignored.empty());
  }
}

TEST(ParseRequestTest, ReadsEveryField) {
  const GenerationRequest request = accepted(chat_with(
      R"("model":"m","max_completion_tokens":9,"temperature":0.5,"top_p":0.9,"top_k":-1,
         "seed":18446744073709551615,"stop":["a","b"],"n":3,"stream":true,"priority":-2,
         "stream_options":{"include_usage":true},"ignore_eos":true,"return_token_ids":true,
         "decoding":{"strategy":"s","block_size":8,"accept_threshold":0.5,"stream":"edits"},
         "user":"someone")"));
  EXPECT_EQ(request.model, "m");
  EXPECT_EQ(request.max_tokens, 9);
  EXPECT_EQ(request.max_tokens_name, "max_completion_tokens");
  EXPECT_EQ(request.temperature, 0.5);
  EXPECT_EQ(request.top_p, 0.9);
  EXPECT_EQ(request.top_k, 0);
  EXPECT_EQ(request.seed, 18446744073709551615u);
  EXPECT_EQ(request.stop, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(request.num_choices, 3);
  EXPECT_EQ(request.priority, -2);
  EXPECT_TRUE(request.stream && request.include_usage && request.ignore_eos &&
              request.return_token_ids);
  EXPECT_EQ(request.decoding.strategy, "s");
  EXPECT_EQ(request.decoding.options.at("block_size"), OptionValue(std::int64_t{8}));
  EXPECT_EQ(request.decoding.options.at("accept_threshold"), OptionValue(0.5));
  EXPECT_EQ(request.decoding.options.at("stream"), OptionValue(std::string("edits")));
  EXPECT_EQ(request.ignored, std::vector<std::string>{"user"});
}

struct Refusal {
  const char* members;
  const char* param;
};

class WrongFieldTest : public ::testing::TestWithParam<Refusal> {};

TEST_P(WrongFieldTest, IsNamedInTheError) {
  const ApiError error = refused(chat_with(GetParam().members));
  EXPECT_EQ(error.status, 400);
  EXPECT_EQ(error.param, GetParam().param);
  EXPECT_NE(error.message.find(GetParam().param), std::string::npos) << error.message;
}

INSTANTIATE_TEST_SUITE_P(
    All,
    WrongFieldTest,
    ::testing::Values(
        Refusal{R"("max_tokens":0)", "max_tokens"},
        Refusal{R"("max_tokens":"5")", "max_tokens"},
        Refusal{R"("max_tokens":1.0)", "max_tokens"},
        Refusal{R"("max_tokens":18446744073709551615)", "max_tokens"},
        Refusal{R"("max_tokens":4,"max_completion_tokens":5)", "max_completion_tokens"},
        Refusal{R"("temperature":-0.1)", "temperature"},
        Refusal{R"("temperature":1e-9)", "temperature"},
        Refusal{R"("temperature":"hot")", "temperature"},
        Refusal{R"("top_p":0)", "top_p"},
        Refusal{R"("top_p":1.01)", "top_p"},
        Refusal{R"("top_k":-2)", "top_k"},
        Refusal{R"("seed":-1)", "seed"},
        Refusal{R"("n":0)", "n"},
        Refusal{R"("n":129)", "n"},
        Refusal{R"("stop":5)", "stop"},
        Refusal{R"("stop":"")", "stop"},
        Refusal{R"("stop":["a","b","c","d","e"])", "stop"},
        Refusal{R"("stream":"yes")", "stream"},
        Refusal{R"("stream_options":{"include_usage":true})", "stream_options"},
        Refusal{R"("stream":true,"stream_options":{"include_usage":1})",
                "stream_options.include_usage"},
        Refusal{R"("model":7)", "model"},
        Refusal{R"("decoding":"fast")", "decoding"},
        Refusal{R"("decoding":{"strategy":1})", "decoding.strategy"},
        Refusal{R"("decoding":{"block_size":[4]})", "decoding.block_size"},
        Refusal{R"("chat_template_kwargs":{"messages":"x"})", "chat_template_kwargs.messages"},
        Refusal{R"("echo":true)", "echo"}));

TEST(ParseRequestTest, ParametersThatDoNothingHereAreRefusedUnlessTheyAskForNothing) {
  for (const char* members :
       {R"("logprobs":true)", R"("top_logprobs":2)", R"("tools":[{"type":"function"}])",
        R"("response_format":{"type":"json_object"})", R"("presence_penalty":0.5)",
        R"("logit_bias":{"5":1})", R"("min_p":0.1)", R"("guided_json":{})"}) {
    const ApiError error = refused(chat_with(members));
    EXPECT_EQ(error.status, 400);
    EXPECT_EQ(error.code, "unsupported_parameter") << members;
  }
  accepted(chat_with(R"("logprobs":false,"tools":[],"response_format":{"type":"text"},
                        "presence_penalty":0,"logit_bias":{},"tool_choice":"auto")"));
}

TEST(ParseRequestTest, MessagesAreCheckedOneByOne) {
  EXPECT_EQ(refused("{}").code, "missing_field");
  EXPECT_EQ(refused(R"({"messages":[]})").param, "messages");
  EXPECT_EQ(refused(R"({"messages":["hi"]})").param, "messages[0]");
  EXPECT_EQ(refused(R"({"messages":[{"role":"user","content":"a"},{"role":"robot","content":""}]})")
                .param,
            "messages[1].role");
  EXPECT_EQ(refused(R"({"messages":[{"role":"user","content":[{"type":"image_url"}]}]})").param,
            "messages[0].content");
  EXPECT_EQ(
      refused(R"({"messages":[{"role":"assistant","content":"","tool_calls":[{"id":"1"}]}]})").code,
      "unsupported_parameter");
  const GenerationRequest request = accepted(
      R"({"messages":[{"role":"developer","content":[{"type":"text","text":"a"},
          {"type":"text","text":"b"}]},{"role":"assistant","content":null}]})");
  EXPECT_EQ(request.chat->messages,
            nlohmann::ordered_json::parse(
                R"([{"role":"system","content":"ab"},{"role":"assistant","content":""}])"));
}

TEST(ParseRequestTest, PromptsAreTextOrIdsOneOrSeveral) {
  const auto prompts = [](const std::string& prompt) {
    return accepted("{\"prompt\":" + prompt + "}", false).prompts;
  };
  EXPECT_EQ(prompts(R"("a")").size(), 1u);
  EXPECT_EQ(std::get<TokenPrompt>(prompts("[1,2,3]").at(0)), (TokenPrompt{1, 2, 3}));
  EXPECT_EQ(prompts("[[1],[2,3]]").size(), 2u);
  EXPECT_EQ(prompts(R"(["a","b","c"])").size(), 3u);
  for (const char* prompt : {"[]", "[[]]", "\"\"", "7", "{}", "[1.5]", "[-1]", "[\"a\",\"\"]",
                             "[3000000000]", "[18446744073709551615]"}) {
    const std::string body = std::string("{\"prompt\":") + prompt + "}";
    EXPECT_EQ(refused(body, false).param, "prompt") << body;
  }
  EXPECT_EQ(refused("{}", false).code, "missing_field");
  EXPECT_EQ(refused(R"({"prompt":["a","b"],"n":100})", false).param, "n");
  EXPECT_TRUE(accepted(R"({"prompt":"a","echo":true})", false).echo);
}

}  // namespace
}  // namespace tessera
