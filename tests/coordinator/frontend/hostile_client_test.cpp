#include <gtest/gtest.h>

#include <random>

#include "tests/coordinator/frontend/frontend_fixture.h"
#include "tests/support/json_mutation.h"

// What clients do to the server that they should not: it answers with an error that names what is
// wrong, and serves everybody else as before.
namespace tessera::testing {
namespace {

using nlohmann::json;

class HostileClientTest : public FrontendTest {
 protected:
  // Some bodies are right by accident; their sequences end at once.
  void serve_fuzzed() {
    serve();
    engine_->end_everything();
  }

  static Answer answer_to(HttpClient& connection, const char* path, const std::string& body) {
    connection.post(path, body);
    return connection.read();
  }
};

constexpr const char* kPaths[] = {kChat, kCompletions, "/tokenize", "/detokenize"};

const std::vector<std::string>& valid_bodies() {
  static const std::vector<std::string> kBodies = {
      R"({"model":"default","messages":[{"role":"system","content":"Be kind."},{"role":"user",
          "content":[{"type":"text","text":"What is 1 + 1?"}]}],"max_tokens":20,"temperature":0.5,
          "top_p":0.9,"top_k":5,"seed":7,"n":2,"stop":["a","\u00e9"],"stream":true,
          "stream_options":{"include_usage":true},"logprobs":false,"tools":[],
          "decoding":{"strategy":"multi_bd","block_size":4,"accept_threshold":0.9,"max_nfe":12,
          "stream":"edits"},"chat_template_kwargs":{"enable_thinking":true}})",
      R"({"prompt":["Once",[1,2,3]],"max_completion_tokens":3,"echo":true,"ignore_eos":true,
          "return_token_ids":true,"priority":-3,"stop":"end"})",
      R"({"prompt":[1,2,3],"tokens":[1,2,3],"add_special_tokens":false})",
  };
  return kBodies;
}

TEST_F(HostileClientTest, BodiesOfWrongValuesAreAnsweredByTheirStatus) {
  serve_fuzzed();
  std::mt19937 random(21);
  HttpClient connection(frontend_->port());
  int num_refused = 0;
  for (int i = 0; i < 3000; ++i) {
    json body = json::parse(valid_bodies()[random() % valid_bodies().size()]);
    for (std::uint32_t n = 1 + random() % 3; n > 0; --n) mutate_json(body, random);
    const Answer answer = answer_to(connection, kPaths[random() % 4], body.dump());
    if (answer.status == 200) continue;
    ++num_refused;
    ASSERT_TRUE(answer.status == 400 || answer.status == 404) << answer.status << body;
    const json error = json::parse(answer.body).at("error");
    ASSERT_FALSE(error.at("message").get<std::string>().empty()) << body;
    ASSERT_NE(error.at("code"), "internal") << body;
  }
  EXPECT_GT(num_refused, 1000);
}

TEST_F(HostileClientTest, DamagedBodiesAreAnsweredByTheirStatus) {
  serve_fuzzed();
  std::mt19937 random(22);
  HttpClient connection(frontend_->port());
  for (int i = 0; i < 3000; ++i) {
    std::string body = valid_bodies()[random() % valid_bodies().size()];
    for (std::uint32_t n = random() % 6; n > 0; --n) {
      body[random() % body.size()] = static_cast<char>(random());
    }
    if (random() % 3 == 0) body.resize(random() % body.size());
    if (random() % 8 == 0) body.insert(random() % (body.size() + 1), random() % 200, '[');
    const Answer answer = answer_to(connection, kPaths[random() % 4], body);
    ASSERT_TRUE(answer.status == 200 || answer.status == 400 || answer.status == 404)
        << answer.status << body;
  }
}

TEST_F(HostileClientTest, BytesThatAreNoHttpDisturbNobody) {
  FrontendOptions options = test_options();
  options.limits.header_timeout = std::chrono::milliseconds(200);
  options.limits.body_timeout = std::chrono::milliseconds(200);
  serve(std::move(options));
  std::mt19937 random(23);
  const std::string valid =
      "POST /tokenize HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
      "Content-Type: application/json\r\n\r\n5\r\n{\"pro\r\n0\r\n\r\n";
  HttpClient friendly(frontend_->port());
  for (int i = 0; i < 200; ++i) {
    std::string bytes = valid;
    for (std::uint32_t n = 1 + random() % 8; n > 0; --n) {
      bytes[random() % bytes.size()] = static_cast<char>(random());
    }
    if (random() % 3 == 0) bytes.insert(random() % bytes.size(), valid);
    HttpClient connection(frontend_->port());
    connection.send(bytes);
    ASSERT_EQ(friendly.get("/health").status, 200);
  }
  ASSERT_EQ(friendly.get("/health").status, 200);
}

TEST_F(HostileClientTest, TenMegabytesAreRefusedWithoutBeingKept) {
  serve();
  const Answer answer = post(kChat, std::string(10'000'000, '['));
  EXPECT_EQ(answer.status, 413);
  EXPECT_NE(answer.body.find("4194304 bytes"), std::string::npos) << answer.body;
  // The same without telling the length first.
  HttpClient chunked(frontend_->port());
  chunked.send("POST /tokenize HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
  const std::string chunk = "100000\r\n" + std::string(0x100000, ' ') + "\r\n";
  for (int i = 0; i < 6; ++i) chunked.send(chunk);
  EXPECT_EQ(chunked.read().status, 413);
}

TEST_F(HostileClientTest, TextThatIsNoUtf8AndDeepNestingAreNamed) {
  serve();
  const Answer text = post(kCompletions, "{\"prompt\":\"a\xFF\"}");
  EXPECT_EQ(text.status, 400);
  EXPECT_NE(text.body.find("UTF-8 at byte 12"), std::string::npos) << text.body;
  const Answer deep =
      post(kChat, "{\"messages\":" + std::string(100'000, '[') + std::string(100'000, ']') + "}");
  EXPECT_EQ(deep.status, 400);
  EXPECT_NE(deep.body.find("nested deeper than 64"), std::string::npos) << deep.body;
  const Answer surrogate = post(kCompletions, R"({"prompt":"\ud800"})");
  EXPECT_EQ(surrogate.status, 400);
}

// The server's thread must not be the one that tokenises megabytes.
TEST_F(HostileClientTest, ALongTextToTokenizeDoesNotHoldUpOthers) {
  serve();
  std::string text;
  for (int i = 0; i < 600'000; ++i) text += "word ";
  HttpClient busy(frontend_->port());
  busy.post("/tokenize", json{{"prompt", text}}.dump());
  HttpClient other(frontend_->port());
  EXPECT_EQ(other.get("/health").status, 200);
  EXPECT_FALSE(busy.has_news()) << "the short request waited for the long one";
  const Answer answer = busy.read();
  EXPECT_EQ(answer.status, 200);
  EXPECT_NE(answer.head.find("x-request-id: "), std::string::npos);
  EXPECT_GE(json::parse(answer.body).at("count"), 600'000);
  const Answer metrics = other.get("/metrics");
  EXPECT_NE(metrics.body.find("tessera_http_requests_total{code=\"200\",route=\"/tokenize\"} 1"),
            std::string::npos)
      << metrics.body;
}

// What it has not taken is kept once, in its shortest form, and the engine never waits.
TEST_F(HostileClientTest, AClientThatDoesNotReadHoldsNobodyUp) {
  FrontendOptions options = test_options();
  options.model.max_model_len = 1'000'000;
  serve(std::move(options));
  HttpClient lazy(frontend_->port());
  lazy.post(kChat, chat_body(R"("stream":true,"max_tokens":900000)"));
  const RequestId lazy_id = engine_->wait_submitted(1).id;
  const std::string text(1000, 'x');
  for (int i = 0; i < 2000; ++i) freeze(lazy_id, text);
  HttpClient reader(frontend_->port());
  reader.post(kChat, chat_body());
  freeze(engine_->wait_submitted(2).id, "yes", FinishReason::kEos);
  EXPECT_EQ(reader.read().status, 200);
  freeze(lazy_id, "end", FinishReason::kEos);
  std::size_t length = 0;
  const auto events = events_of(lazy.read().body);
  for (const json& event : events) {
    if (event == "[DONE]") continue;
    length += event.at("choices").at(0).at("delta").value("content", "").size();
  }
  EXPECT_EQ(length, 2'000'003u);
  EXPECT_LT(events.size(), 1000u) << "many updates became one event";
}

}  // namespace
}  // namespace tessera::testing
