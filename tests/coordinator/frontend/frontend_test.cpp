#include <gtest/gtest.h>

#include <set>

#include "tests/coordinator/frontend/frontend_fixture.h"

namespace tessera::testing {
namespace {

using nlohmann::json;

TEST_F(FrontendTest, AChatIsAnsweredWhole) {
  serve();
  HttpClient client(frontend_->port());
  client.post(kChat, chat_body(R"("max_tokens":20,"seed":5,"return_token_ids":true,"user":"me")"),
              "X-Request-Id: abc-1\r\n");
  const SequenceRequest request = engine_->wait_submitted(1);
  EXPECT_EQ(request.limits.max_tokens, 20);
  EXPECT_EQ(request.sampling.seed, 5u);
  EXPECT_NE(tiny_tokenizer().decode(request.prompt).find("What is 1 + 1?"), std::string::npos);
  freeze(request.id, "It is");
  freeze(request.id, " two.", FinishReason::kEos);

  const Answer answer = client.read();
  EXPECT_EQ(answer.status, 200) << answer.body;
  EXPECT_NE(answer.head.find("x-request-id: abc-1\r\n"), std::string::npos) << answer.head;
  EXPECT_NE(answer.head.find("x-ignored-params: user\r\n"), std::string::npos) << answer.head;
  const json body = json::parse(answer.body);
  EXPECT_EQ(body.at("id"), "chatcmpl-abc-1");
  EXPECT_EQ(body.at("object"), "chat.completion");
  const json& choice = body.at("choices").at(0);
  EXPECT_EQ(choice.at("message"), json::parse(R"({"role":"assistant","content":"It is two."})"));
  EXPECT_EQ(choice.at("finish_reason"), "stop");
  EXPECT_EQ(choice.at("token_ids").size(), body.at("usage").at("completion_tokens"));
  EXPECT_EQ(body.at("usage").at("prompt_tokens"), request.prompt.size());
  EXPECT_EQ(body.at("usage").at("prompt_tokens_details").at("cached_tokens"), 1);
  EXPECT_EQ(body.at("usage").at("tessera"), json::parse(R"({"nfe":2,"seed":5})"));
}

TEST_F(FrontendTest, AStreamObeysTheRulesOfChunks) {
  serve();
  HttpClient client(frontend_->port());
  client.post(kChat, chat_body(R"("stream":true,"stream_options":{"include_usage":true})"));
  const RequestId id = engine_->wait_submitted(1).id;
  freeze(id, "It is");
  ASSERT_TRUE(client.wait_for("It is")) << "text is sent as soon as it is frozen";
  freeze(id, " two", FinishReason::kMaxTokens);
  const Answer answer = client.read();
  EXPECT_EQ(answer.status, 200);
  EXPECT_NE(answer.head.find("text/event-stream"), std::string::npos);
  EXPECT_NE(answer.head.find("x-request-id: "), std::string::npos);
  const auto events = events_of(answer.body);
  ASSERT_EQ(events.size(), 5u) << answer.body;
  std::string text;
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(events[i].at("id"), events[0].at("id"));
    EXPECT_EQ(events[i].at("object"), "chat.completion.chunk");
    const json& choice = events[i].at("choices").at(0);
    EXPECT_EQ(choice.at("delta").contains("role"), i == 0);
    EXPECT_EQ(choice.at("finish_reason"), i == 2 ? json("length") : json());
    text += choice.at("delta").value("content", "");
  }
  EXPECT_EQ(text, "It is two");
  EXPECT_EQ(events[3].at("choices"), json::array());
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(events[i].at("usage"), json()) << i;
  EXPECT_TRUE(events[3].at("usage").is_object());
  EXPECT_EQ(events[4], "[DONE]");
}

TEST_F(FrontendTest, AConnectionServesOneRequestAfterTheOther) {
  serve();
  HttpClient client(frontend_->port());
  for (std::size_t i = 1; i <= 6; ++i) {
    client.post(kChat, chat_body(i % 2 == 0 ? R"("stream":true)" : ""));
    freeze(engine_->wait_submitted(i).id, "yes", FinishReason::kEos);
    const Answer answer = client.read();
    ASSERT_EQ(answer.status, 200);
    ASSERT_NE(answer.body.find("yes"), std::string::npos);
    ASSERT_EQ(client.get("/health").status, 200);
  }
}

TEST_F(FrontendTest, RequestsThatWereSentAheadAreAnsweredInOrder) {
  serve();
  HttpClient client(frontend_->port());
  client.post(kCompletions, R"({"prompt":"one"})");
  client.post(kCompletions, R"({"prompt":"two"})");
  freeze(engine_->wait_submitted(1).id, "first", FinishReason::kEos);
  EXPECT_NE(client.read().body.find("first"), std::string::npos);
  freeze(engine_->wait_submitted(2).id, "second", FinishReason::kEos);
  EXPECT_NE(client.read().body.find("second"), std::string::npos);
}

TEST_F(FrontendTest, SeveralChoicesHaveTheirOwnSeedsAndIndices) {
  serve();
  HttpClient client(frontend_->port());
  client.post(kCompletions, R"({"prompt":"Once","n":3,"seed":8,"temperature":1})");
  std::set<std::uint64_t> seeds;
  const char* texts[] = {"a", "b", "c"};
  for (std::size_t i = 3; i >= 1; --i) {
    const SequenceRequest request = engine_->wait_submitted(i);
    seeds.insert(request.sampling.seed);
    freeze(request.id, texts[i - 1], FinishReason::kEos);
  }
  EXPECT_EQ(seeds.size(), 3u);
  EXPECT_TRUE(seeds.contains(8));
  const json body = json::parse(client.read().body);
  ASSERT_EQ(body.at("choices").size(), 3u);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(body["choices"][i].at("index"), i);
    EXPECT_EQ(body["choices"][i].at("text"), texts[i]);
  }
  EXPECT_EQ(body.at("usage").at("prompt_tokens"), engine_->wait_submitted(1).prompt.size());
}

TEST_F(FrontendTest, TokenIdsAreAPromptAndEchoRepeatsIt) {
  serve();
  HttpClient client(frontend_->port());
  const json ids = tiny_tokenizer().encode("Once upon");
  client.post(kCompletions, json{{"prompt", ids}, {"echo", true}}.dump());
  const SequenceRequest request = engine_->wait_submitted(1);
  EXPECT_EQ(json(request.prompt), ids);
  freeze(request.id, " a time", FinishReason::kEos);
  EXPECT_EQ(json::parse(client.read().body)["choices"][0]["text"], "Once upon a time");
}

TEST_F(FrontendTest, AStopStringEndsTheAnswerAndTheSequence) {
  serve();
  HttpClient client(frontend_->port());
  client.post(kChat, chat_body(R"("stop":" END","stream":true)"));
  const RequestId id = engine_->wait_submitted(1).id;
  freeze(id, "answer END and more");
  EXPECT_EQ(engine_->wait_cancelled(1), std::vector<RequestId>{id});
  const Answer answer = client.read();
  EXPECT_NE(answer.body.find("\"matched\":\" END\""), std::string::npos) << answer.body;
  EXPECT_EQ(answer.body.find("more"), std::string::npos);
}

TEST_F(FrontendTest, EditsTellProvisionalTokensBesideTheText) {
  serve();
  HttpClient client(frontend_->port());
  client.post(kChat, chat_body(R"("stream":true,"decoding":{"stream":"edits"})"));
  const SequenceRequest request = engine_->wait_submitted(1);
  EXPECT_TRUE(request.wants_edits);
  SequenceUpdate update;
  update.id = request.id;
  update.num_steps = 1;
  const auto position = static_cast<Position>(request.prompt.size()) + 1;
  update.writes = {{position, tiny_tokenizer().encode("x").front(), 0.5F}};
  engine_->send(update);
  ASSERT_TRUE(client.wait_for("\"set\""));
  freeze(request.id, "yes", FinishReason::kEos);
  std::set<std::string> kinds;
  std::string text;
  for (const json& event : events_of(client.read().body)) {
    if (event == "[DONE]") continue;
    if (event.contains("diffusion")) {
      EXPECT_EQ(event.at("choices"), json::array());
      kinds.insert(event["diffusion"].at("type"));
    } else {
      text += event.at("choices").at(0).at("delta").value("content", "");
    }
  }
  EXPECT_EQ(kinds, (std::set<std::string>{"open", "set", "commit", "drop"}));
  EXPECT_EQ(text, "yes");
}

TEST_F(FrontendTest, WhatIsWrongWithARequestIsAnsweredAtOnce) {
  serve();
  struct Case {
    const char* path;
    std::string body;
    int status;
    const char* code;
  };
  const Case cases[] = {
      {kChat, "{", 400, "malformed_json"},
      {kChat, chat_body(R"("max_tokens":"many")"), 400, "invalid_value"},
      {kChat, chat_body(R"("max_tokens":100000)"), 400, "invalid_value"},
      {kChat, chat_body(R"("model":"other")"), 404, "model_not_found"},
      {kChat, chat_body(R"("logprobs":true)"), 400, "unsupported_parameter"},
      {kChat, chat_body(R"("decoding":{"block_size":5})"), 400, "invalid_value"},
      {kChat, chat_body(R"("decoding":{"stream":"edits"})"), 400, "invalid_value"},
      {kCompletions, R"({"prompt":[999999]})", 400, "invalid_value"},
      {"/v1/nothing", "{}", 404, "unknown_route"},
      {"/health", "{}", 405, "method_not_allowed"},
      {"/tokenize", R"({"prompt":5})", 400, "invalid_value"},
      {"/detokenize", R"({"tokens":"a"})", 400, "invalid_value"},
  };
  for (const Case& wrong : cases) {
    const Answer answer = post(wrong.path, wrong.body);
    EXPECT_EQ(answer.status, wrong.status) << wrong.body;
    const json error = json::parse(answer.body).at("error");
    EXPECT_EQ(error.at("code"), wrong.code) << wrong.body << answer.body;
    EXPECT_NE(answer.head.find("x-request-id: "), std::string::npos) << wrong.body;
  }
  EXPECT_EQ(post(kChat, chat_body(R"("model":"default","max_tokens":0)")).status, 400);
  EXPECT_EQ(post(kChat, chat_body(), "x-request-timeout-ms: soon\r\n").status, 400);
  EXPECT_EQ(engine_->num_submitted(), 0u);
}

TEST_F(FrontendTest, APromptThatLeavesNoRoomIsRefused) {
  serve();
  std::string ids = "1";
  for (int i = 1; i < 128; ++i) ids += ",1";
  const Answer answer = post(kCompletions, "{\"prompt\":[" + ids + "]}");
  EXPECT_EQ(answer.status, 400);
  EXPECT_NE(answer.body.find("context_length_exceeded"), std::string::npos) << answer.body;
}

// A body that is not even parsed cannot have been tokenised.
TEST_F(FrontendTest, AFullQueueIsToldBeforeAPromptIsLookedAt) {
  serve();
  engine_->set_refusal(SequenceFailure{FailureReason::kQueueFull, "2 requests are waiting"});
  const std::string malformed = R"({"messages": 1})";
  const std::string long_one = malformed + std::string(100'000, ' ');
  for (const std::string& body : {malformed, long_one}) {
    const Answer answer = post(kChat, body);
    EXPECT_EQ(answer.status, 429) << answer.body;
    EXPECT_NE(answer.head.find("Retry-After: 1"), std::string::npos);
    EXPECT_NE(answer.body.find("queue_full"), std::string::npos) << answer.body;
  }
  const std::string metrics = client().get("/metrics").body;
  EXPECT_NE(metrics.find(R"(tessera_requests_rejected_total{reason="queue_full"} 2)"),
            std::string::npos);

  engine_->set_refusal(std::nullopt);
  for (const std::string& body : {malformed, long_one}) EXPECT_EQ(post(kChat, body).status, 400);
  EXPECT_EQ(engine_->num_submitted(), 0u);
}

TEST_F(FrontendTest, TheFailureOfASequenceIsTheAnswer) {
  serve();
  HttpClient client(frontend_->port());
  client.post(kChat, chat_body());
  SequenceUpdate update;
  update.id = engine_->wait_submitted(1).id;
  update.failure = SequenceFailure{FailureReason::kQueueFull, "try later"};
  engine_->send(update);
  const Answer whole = client.read();
  EXPECT_EQ(whole.status, 429);
  EXPECT_NE(whole.head.find("Retry-After: 1"), std::string::npos);

  client.post(kChat, chat_body(R"("stream":true)"));
  update.id = engine_->wait_submitted(2).id;
  freeze(update.id, "half");
  ASSERT_TRUE(client.wait_for("half"));
  update.failure = SequenceFailure{FailureReason::kRankLost, "a rank is gone"};
  engine_->send(update);
  const auto events = events_of(client.read().body);
  EXPECT_EQ(events.back().at("error").at("code"), "rank_lost") << "and no [DONE]";
}

TEST_F(FrontendTest, AClientThatGoesAwayIsCancelled) {
  serve();
  for (const char* members : {"", R"("stream":true,"n":2)"}) {
    const std::size_t before = engine_->num_submitted();
    HttpClient client(frontend_->port());
    client.post(kChat, chat_body(members));
    const std::size_t expected = before + (*members == '\0' ? 1 : 2);
    const RequestId last = engine_->wait_submitted(expected).id;
    client.close();
    EXPECT_EQ(engine_->wait_cancelled(expected).back(), last);
  }
  EXPECT_TRUE(frontend_->wait_idle(std::chrono::seconds(10)));
}

TEST_F(FrontendTest, LongPromptsArePreparedElsewhereAndAnsweredAsUsual) {
  FrontendOptions options = test_options();
  options.model.max_model_len = 100'000;
  serve(std::move(options));
  HttpClient client(frontend_->port());
  std::string prompt;
  for (int i = 0; i < 4000; ++i) prompt += "word ";
  client.post(kCompletions, json{{"prompt", prompt}}.dump());
  const SequenceRequest request = engine_->wait_submitted(1);
  EXPECT_EQ(tiny_tokenizer().decode(request.prompt), prompt);
  freeze(request.id, "end", FinishReason::kEos);
  EXPECT_EQ(client.read().status, 200);
}

TEST_F(FrontendTest, LimitsHaveTheirOwnStatus) {
  FrontendOptions options = test_options();
  options.limits.max_body_bytes = 1000;
  options.limits.max_header_bytes = 2000;
  options.limits.header_timeout = std::chrono::milliseconds(200);
  options.limits.body_timeout = std::chrono::milliseconds(200);
  serve(std::move(options));
  EXPECT_EQ(post(kChat, std::string(100'000, ' ')).status, 413);
  EXPECT_EQ(HttpClient(frontend_->port()).get("/", "A: " + std::string(5000, 'a') + "\r\n").status,
            431);
  HttpClient malformed(frontend_->port());
  malformed.send("what is this\r\n\r\n");
  EXPECT_EQ(malformed.read().status, 400);
  for (const char* part :
       {"GET / HT", "POST /v1/completions HTTP/1.1\r\nContent-Length: 9\r\n\r\n{"}) {
    HttpClient slow(frontend_->port());
    slow.send(part);
    EXPECT_EQ(slow.read().status, 408) << part;
    EXPECT_TRUE(slow.is_at_end());
  }
}

TEST_F(FrontendTest, ConnectionsBeyondTheLimitAreTurnedAway) {
  FrontendOptions options = test_options();
  options.limits.max_connections = 1;
  serve(std::move(options));
  HttpClient first(frontend_->port());
  ASSERT_EQ(first.get("/health").status, 200);
  HttpClient second(frontend_->port());
  EXPECT_EQ(second.read().status, 503);
  EXPECT_EQ(first.get("/health").status, 200);
}

TEST_F(FrontendTest, SilentStreamsArePinged) {
  FrontendOptions options = test_options();
  options.limits.ping_interval = std::chrono::milliseconds(50);
  serve(std::move(options));
  HttpClient client(frontend_->port());
  client.post(kChat, chat_body(R"("stream":true)"));
  const RequestId id = engine_->wait_submitted(1).id;
  ASSERT_TRUE(client.wait_for(": ping\n\n"));
  freeze(id, "yes", FinishReason::kEos);
  EXPECT_EQ(events_of(client.read().body).back(), "[DONE]");
}

TEST_F(FrontendTest, HealthFollowsTheCluster) {
  serve();
  HttpClient client(frontend_->port());
  EXPECT_EQ(client.get("/health").status, 200);
  EXPECT_EQ(client.get("/health/ready").status, 200);
  engine_->set_state(ServerState::kStarting, "0 of 1 ranks");
  EXPECT_EQ(client.get("/health/live").status, 200);
  const Answer ready = client.get("/health/ready");
  EXPECT_EQ(ready.status, 503);
  EXPECT_EQ(json::parse(ready.body).at("reason"), "0 of 1 ranks");
  const Answer refused = post(kChat, chat_body());
  EXPECT_EQ(refused.status, 503);
  EXPECT_NE(refused.body.find("\"loading\""), std::string::npos) << refused.body;
  EXPECT_NE(refused.head.find("Retry-After"), std::string::npos);
}

TEST_F(FrontendTest, DrainingRefusesNewWorkAndFinishesTheOld) {
  serve();
  HttpClient open(frontend_->port());
  open.post(kChat, chat_body(R"("stream":true)"));
  const RequestId id = engine_->wait_submitted(1).id;
  frontend_->drain();
  EXPECT_EQ(post(kChat, chat_body()).status, 503);
  EXPECT_EQ(client().get("/health/ready").status, 503);
  EXPECT_NE(client().get("/metrics").body.find("tessera_server_state{state=\"draining\"} 1"),
            std::string::npos);
  EXPECT_FALSE(frontend_->wait_idle(std::chrono::milliseconds(20)));
  freeze(id, "last words", FinishReason::kEos);
  EXPECT_EQ(events_of(open.read().body).back(), "[DONE]");
  EXPECT_TRUE(frontend_->wait_idle(std::chrono::seconds(10)));
}

TEST_F(FrontendTest, AnEngineThatFailedEndsOpenRequestsWithAnAnswer) {
  serve();
  HttpClient whole(frontend_->port());
  whole.post(kChat, chat_body());
  HttpClient stream(frontend_->port());
  stream.post(kChat, chat_body(R"("stream":true)"));
  engine_->wait_submitted(2);
  frontend_->fail_open({FailureReason::kEngineFailed, "out of order"});
  for (HttpClient* connection : {&whole, &stream}) {
    const Answer answer = connection->read();
    EXPECT_EQ(answer.status, 503);
    EXPECT_NE(answer.head.find("Connection: close"), std::string::npos) << answer.head;
    EXPECT_EQ(json::parse(answer.body).at("error").at("code"), "engine_failed");
  }
  EXPECT_TRUE(frontend_->wait_idle(std::chrono::seconds(10)));
}

TEST_F(FrontendTest, StoppingEndsOpenStreamsAndCancelsThem) {
  serve();
  HttpClient open(frontend_->port());
  open.post(kChat, chat_body(R"("stream":true)"));
  const RequestId id = engine_->wait_submitted(1).id;
  freeze(id, "half");
  ASSERT_TRUE(open.wait_for("half"));
  frontend_->stop();
  EXPECT_EQ(engine_->wait_cancelled(1), std::vector<RequestId>{id});
  EXPECT_EQ(open.read().body.find("[DONE]"), std::string::npos);
}

TEST_F(FrontendTest, KeysGuardTheApiAndNotHealth) {
  FrontendOptions options = test_options();
  options.api_keys = {"secret"};
  serve(std::move(options));
  EXPECT_EQ(post(kChat, chat_body()).status, 401);
  EXPECT_EQ(client().get("/v1/models", "Authorization: Bearer wrong\r\n").status, 401);
  EXPECT_EQ(client().get("/v1/models", "Authorization: Bearer secret\r\n").status, 200);
  EXPECT_EQ(client().get("/health").status, 200);
}

TEST_F(FrontendTest, SmallRoutesAnswer) {
  serve();
  HttpClient client(frontend_->port());
  const json models = json::parse(client.get("/v1/models").body);
  EXPECT_EQ(models.at("data").at(0).at("id"), "tiny");
  const json& strategies = models["data"][0].at("tessera").at("strategies");
  EXPECT_GT(strategies.at(0).at("options").size(), 3u);
  EXPECT_EQ(strategies.at(0).at("presets").size(), 3u);
  EXPECT_EQ(json::parse(client.get("/version").body).at("version"), "1.2.3");
  const Answer page = client.get("/?x=1");
  EXPECT_EQ(page.status, 200);
  EXPECT_NE(page.body.find("<!doctype html>"), std::string::npos);
  client.post("/tokenize", R"({"prompt":"a 🍎"})");
  const json tokens = json::parse(client.read().body);
  EXPECT_EQ(tokens.at("count"), tokens.at("tokens").size());
  client.post("/detokenize", json{{"tokens", tokens["tokens"]}}.dump());
  EXPECT_EQ(json::parse(client.read().body).at("prompt"), "a 🍎");
}

TEST_F(FrontendTest, MetricsCountWhatHappened) {
  serve();
  HttpClient client(frontend_->port());
  client.post(kChat, chat_body());
  freeze(engine_->wait_submitted(1).id, "yes", FinishReason::kEos);
  client.read();
  const Answer answer = client.get("/metrics");
  EXPECT_EQ(answer.status, 200);
  EXPECT_NE(answer.body.find("tessera_build_info{version=\"1.2.3\"} 1"), std::string::npos);
  for (const char* line :
       {"tessera_requests_total{outcome=\"stop\"} 1", "tessera_requests_total{outcome=\"error\"} 0",
        "tessera_requests_rejected_total{reason=\"queue_full\"} 0",
        "tessera_request_stop_details_total{detail=\"eos\"} 1",
        "tessera_request_e2e_seconds_count 1", "tessera_request_queue_seconds_count 1",
        "process_resident_memory_bytes ", "process_start_time_seconds 1"}) {
    EXPECT_NE(answer.body.find(line), std::string::npos) << line << "\n" << answer.body;
  }
}

}  // namespace
}  // namespace tessera::testing
