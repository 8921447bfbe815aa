#include "coordinator/frontend/api_routes.h"

#include <algorithm>
#include <charconv>
#include <cstdio>

#include "common/base/error.h"
#include "coordinator/frontend/api_keys.h"
#include "coordinator/frontend/background_response.h"
#include "coordinator/frontend/cluster_families.h"
#include "coordinator/frontend/openai/parse_generation_request.h"
#include "coordinator/frontend/page.h"
#include "coordinator/frontend/process_families.h"
#include "coordinator/frontend/server_json.h"

namespace tessera {
namespace {

constexpr std::size_t kMaxInlineBytes = 16 * 1024;  // longer prompts are prepared off the thread
constexpr std::size_t kMaxRequestIdBytes = 128;
constexpr std::uint64_t kSeedMask = (std::uint64_t{1} << 53) - 1;  // exact in every JSON reader
constexpr std::int64_t kMaxTimeoutMs = 86'400'000;

HttpResponse json_response(const nlohmann::ordered_json& body, int status = 200) {
  return {.status = status, .body = dump(body) + "\n", .headers = {}};
}

ApiError client_error(int status, std::string code, std::string message) {
  ApiError error{.status = status,
                 .code = std::move(code),
                 .message = std::move(message),
                 .param = {},
                 .retry_after_seconds = {}};
  if (status == 401) error.type = "authentication_error";
  if (status == 404) error.type = "not_found_error";
  if (status == 408) error.type = "timeout_error";
  if (status == 503) error = unavailable(error.code, error.message);
  return error;
}

/// A client's mistake is said as it is, a bug of ours with the id of the request.
ApiError refusal_of(const Error& error, const std::string& request_id) {
  if (error.code() == ErrorCode::kInvalidArgument) {
    return {.message = error.what(), .param = {}, .retry_after_seconds = {}};
  }
  ApiError internal = internal_error(request_id);
  internal.message += std::string(" (") + error.what() + ")";
  return internal;
}

bool is_json(std::string_view content_type) {
  return content_type.empty() || content_type.starts_with("application/json");
}

Parsed<std::optional<Duration>> parse_timeout(std::string_view header) {
  if (header.empty()) return std::optional<Duration>();
  std::int64_t ms = 0;
  const auto [end, ec] = std::from_chars(header.data(), header.data() + header.size(), ms);
  if (ec != std::errc() || end != header.data() + header.size() || ms < 1 || ms > kMaxTimeoutMs) {
    return invalid_value("x-request-timeout-ms",
                         "x-request-timeout-ms must be an integer in [1, 86400000]");
  }
  return std::optional<Duration>(std::chrono::milliseconds(ms));
}

}  // namespace

// HEAD is answered like GET. /metrics, health and the page carry nothing of any client.
const ApiRoutes::Route ApiRoutes::kRoutes[] = {
    {"/v1/chat/completions", "POST", true, &ApiRoutes::chat},
    {"/v1/completions", "POST", true, &ApiRoutes::completions},
    {"/v1/models", "GET", true, &ApiRoutes::models},
    {"/tokenize", "POST", true, &ApiRoutes::tokenize},
    {"/detokenize", "POST", true, &ApiRoutes::detokenize},
    {"/health", "GET", false, &ApiRoutes::live},
    {"/health/live", "GET", false, &ApiRoutes::live},
    {"/health/ready", "GET", false, &ApiRoutes::ready},
    {"/metrics", "GET", false, &ApiRoutes::metrics},
    {"/version", "GET", false, &ApiRoutes::version},
    {"/", "GET", false, &ApiRoutes::page},
};

ApiRoutes::ApiRoutes(const FrontendOptions& options,
                     const GenerationServices& services,
                     std::function<ClusterMetrics()> cluster_metrics,
                     Background background)
    : options_(options),
      services_(services),
      cluster_metrics_(std::move(cluster_metrics)),
      background_(std::move(background)),
      random_(options.seed) {}

std::string ApiRoutes::request_id_of(const HttpRequest& request) {
  const std::string_view given = request.header("x-request-id");
  const bool is_plain = !given.empty() && given.size() <= kMaxRequestIdBytes &&
                        std::ranges::all_of(given, [](char c) {
                          return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' ||
                                 c == '_' || c == '.' || c == ':';
                        });
  if (is_plain) return std::string(given);
  char text[33];
  std::snprintf(text, sizeof(text), "%016llx%016llx", static_cast<unsigned long long>(random_()),
                static_cast<unsigned long long>(random_()));
  return text;
}

RouteResult ApiRoutes::handle(HttpRequest request) {
  const std::string request_id = request_id_of(request);
  std::string_view route = "unknown";
  RouteResult result = dispatch(request, request_id, route);
  if (auto* whole = std::get_if<HttpResponse>(&result)) {
    services_.metrics.count_http(route, whole->status);
    whole->headers.emplace_back("x-request-id", request_id);
  }
  return result;
}

RouteResult ApiRoutes::dispatch(HttpRequest& request,
                                const std::string& request_id,
                                std::string_view& route) {
  const auto found = std::ranges::find(kRoutes, request.path, &Route::path);
  if (found == std::end(kRoutes)) {
    return error_response(client_error(404, "unknown_route", "there is no route " + request.path));
  }
  route = found->path;
  const std::string_view given = request.method;
  const std::string_view method = given == "HEAD" ? "GET" : given;
  if (method != found->method) {
    auto response = error_response(client_error(
        405, "method_not_allowed", request.path + " takes " + std::string(found->method)));
    response.headers.emplace_back("Allow", found->method);
    return response;
  }
  if (found->needs_key && !options_.api_keys.empty() &&
      !is_authorized(options_.api_keys, request.header("authorization"))) {
    auto response = error_response(
        client_error(401, "invalid_api_key", "an API key is needed: Authorization: Bearer <key>"));
    response.headers.emplace_back("WWW-Authenticate", "Bearer");
    return response;
  }
  if (found->method == "POST" && !is_json(request.header("content-type"))) {
    return error_response(
        client_error(415, "unsupported_media_type", "Content-Type must be application/json"));
  }
  return call(*found, request, request_id);
}

RouteResult ApiRoutes::call(const Route& route,
                            HttpRequest& request,
                            const std::string& request_id) {
  try {
    return (this->*route.answer)(request, request_id);
  } catch (const Error& error) {
    if (options_.log) options_.log("request " + request_id + " failed: " + error.what());
    return error_response(refusal_of(error, request_id));
  }
}

HttpResponse ApiRoutes::refuse(int status, std::string code, std::string message) {
  services_.metrics.count_http("unknown", status);
  return error_response(client_error(status, std::move(code), std::move(message)));
}

std::optional<ApiError> ApiRoutes::refuse_work(const ClusterStatus& status) const {
  if (is_draining_ || status.state == ServerState::kDraining) {
    return unavailable("draining", "the server is going down; send the request elsewhere");
  }
  if (status.state == ServerState::kFailed) return unavailable("engine_failed", status.reason);
  if (status.state == ServerState::kStarting) {
    return unavailable("loading", "the model is not ready yet: " + status.reason);
  }
  return std::nullopt;
}

RouteResult ApiRoutes::chat(HttpRequest& request, const std::string& request_id) {
  return generate(request, request_id, /*is_chat=*/true);
}

RouteResult ApiRoutes::completions(HttpRequest& request, const std::string& request_id) {
  return generate(request, request_id, /*is_chat=*/false);
}

Parsed<ResolvedRequest> ApiRoutes::prepare(const std::string& body,
                                           bool is_chat,
                                           std::uint64_t drawn_seed,
                                           const std::string& request_id) const {
  // Parsing and tokenising a request that would be refused anyway would load a full server further.
  // The time to ask is now: a long prompt has waited for its turn.
  if (const auto refusal = services_.engine.refusal()) return error_of(*refusal);
  try {
    auto json = parse_json_object(body);
    if (auto* error = std::get_if<ApiError>(&json)) return std::move(*error);
    auto parsed = is_chat ? parse_chat_request(std::get<nlohmann::json>(json))
                          : parse_completion_request(std::get<nlohmann::json>(json));
    if (auto* error = std::get_if<ApiError>(&parsed)) return std::move(*error);
    return resolve_request(std::get<GenerationRequest>(parsed), options_.model, drawn_seed);
  } catch (const Error& error) {
    ApiError refusal = refusal_of(error, request_id);
    if (refusal.status == 400) refusal.param = is_chat ? "messages" : "prompt";
    return refusal;
  }
}

RouteResult ApiRoutes::generate(HttpRequest& request, const std::string& request_id, bool is_chat) {
  if (auto error = refuse_work(services_.engine.status())) {
    services_.metrics.count_rejection(error->code);
    return error_response(*error);
  }
  auto timeout = parse_timeout(request.header("x-request-timeout-ms"));
  if (auto* error = std::get_if<ApiError>(&timeout)) return error_response(*error);
  auto limit = std::get<std::optional<Duration>>(timeout);
  if (options_.request_timeout.count() > 0) {
    limit = std::min<Duration>(limit.value_or(options_.request_timeout), options_.request_timeout);
  }

  GenerationResponse::Arrival arrival{
      .request_id = request_id,
      .route = is_chat ? "/v1/chat/completions" : "/v1/completions",
      .time = services_.clock.now(),
      .deadline = {},
      .identity = {.id = (is_chat ? "chatcmpl-" : "cmpl-") + request_id,
                   .model = options_.model.name,
                   .created = options_.unix_seconds(),
                   .is_chat = is_chat}};
  if (limit) arrival.deadline = arrival.time + *limit;
  auto response = std::make_unique<GenerationResponse>(services_, options_.model.text->tokenizer,
                                                       std::move(arrival));
  const std::uint64_t seed = random_() & kSeedMask;
  if (request.body.size() <= kMaxInlineBytes) {
    response->begin(prepare(request.body, is_chat, seed, request_id));
    return response;
  }
  background_([this, body = std::move(request.body), is_chat, seed, request_id,
               waiting = response->self()]() -> std::function<void()> {
    auto prepared =
        std::make_shared<Parsed<ResolvedRequest>>(prepare(body, is_chat, seed, request_id));
    return [prepared, waiting] {
      if (const auto alive = waiting.lock()) (*alive)->begin(std::move(*prepared));
    };
  });
  return response;
}

RouteResult ApiRoutes::models(HttpRequest&, const std::string&) {
  return json_response(models_json(options_.model, options_.unix_seconds()));
}

RouteResult ApiRoutes::tokenize(HttpRequest& request, const std::string& request_id) {
  return convert(request, request_id, "/tokenize", &tokenize_json);
}

RouteResult ApiRoutes::detokenize(HttpRequest& request, const std::string& request_id) {
  return convert(request, request_id, "/detokenize", &detokenize_json);
}

// A long text takes longer than the streams of others can wait.
RouteResult ApiRoutes::convert(HttpRequest& request,
                               const std::string& request_id,
                               std::string_view route,
                               Parsed<nlohmann::ordered_json> (*work)(std::string_view,
                                                                      const ServedModel&)) {
  const auto answer = [this, work, request_id](std::string_view body) {
    try {
      auto result = work(body, options_.model);
      if (auto* error = std::get_if<ApiError>(&result)) return error_response(*error);
      return json_response(std::get<nlohmann::ordered_json>(result));
    } catch (const Error& error) {
      return error_response(refusal_of(error, request_id));
    }
  };
  if (request.body.size() <= kMaxInlineBytes) return answer(request.body);
  auto response = std::make_unique<BackgroundResponse>();
  background_([this, answer, request_id, route, body = std::move(request.body),
               waiting = response->self()]() -> std::function<void()> {
    auto computed = std::make_shared<HttpResponse>(answer(body));
    return [this, computed, request_id, route, waiting] {
      services_.metrics.count_http(route, computed->status);
      computed->headers.emplace_back("x-request-id", request_id);
      if (const auto alive = waiting.lock()) (*alive)->finish(std::move(*computed));
    };
  });
  return response;
}

RouteResult ApiRoutes::live(HttpRequest&, const std::string&) {
  return json_response({{"status", "ok"}});
}

RouteResult ApiRoutes::ready(HttpRequest&, const std::string&) {
  const ClusterStatus status = services_.engine.status();
  const bool is_ready = status.state == ServerState::kReady && !is_draining_;
  return json_response(status_json(status, is_draining_), is_ready ? 200 : 503);
}

RouteResult ApiRoutes::metrics(HttpRequest&, const std::string&) {
  MetricFamilies families;
  ClusterMetrics cluster = cluster_metrics_();
  // The engine works on while the front end refuses new work.
  if (is_draining_) cluster.state = ServerState::kDraining;
  add_cluster_families(cluster, families);
  add_process_families(families);
  families.gauge("tessera_build_info", "1, with the version.", 1, {{"version", options_.version}});
  auto all = services_.metrics.registry().Collect();
  all.insert(all.end(), families.all().begin(), families.all().end());
  return HttpResponse{.content_type = "text/plain; version=0.0.4; charset=utf-8",
                      .body = exposition_text(all),
                      .headers = {}};
}

RouteResult ApiRoutes::version(HttpRequest&, const std::string&) {
  return json_response({{"name", "tessera"}, {"version", options_.version}});
}

RouteResult ApiRoutes::page(HttpRequest&, const std::string&) {
  return HttpResponse{
      .content_type = "text/html; charset=utf-8",
      .body = std::string(page_html()),
      .headers = {{"Cache-Control", "no-cache"},
                  {"Content-Security-Policy",
                   "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
                   "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'"}}};
}

}  // namespace tessera
