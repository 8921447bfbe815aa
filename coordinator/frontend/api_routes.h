#pragma once

#include <atomic>
#include <functional>
#include <random>
#include <string>

#include "coordinator/frontend/frontend.h"
#include "coordinator/frontend/generation_response.h"
#include "coordinator/frontend/http/pending_response.h"

namespace tessera {

/// Every route of docs/api.md: who may call it, with what, and what it answers.
///
/// Lives on the server's thread; drain() may be called from any.
class ApiRoutes final : public RequestHandler {
 public:
  /// Runs its argument on another thread, and what that returns on the server's.
  using Background = std::function<void(std::function<std::function<void()>()>)>;

  ApiRoutes(const FrontendOptions& options,
            const GenerationServices& services,
            std::function<ClusterMetrics()> cluster_metrics,
            Background background);

  RouteResult handle(HttpRequest request) override;
  HttpResponse refuse(int status, std::string code, std::string message) override;

  void drain() { is_draining_ = true; }

 private:
  using Method = RouteResult (ApiRoutes::*)(HttpRequest& request, const std::string& request_id);
  struct Route {
    std::string_view path;
    std::string_view method;
    bool needs_key;
    Method answer;
  };
  static const Route kRoutes[];

  RouteResult dispatch(HttpRequest& request,
                       const std::string& request_id,
                       std::string_view& route);
  RouteResult call(const Route& route, HttpRequest& request, const std::string& request_id);
  RouteResult chat(HttpRequest& request, const std::string& request_id);
  RouteResult completions(HttpRequest& request, const std::string& request_id);
  RouteResult generate(HttpRequest& request, const std::string& request_id, bool is_chat);
  RouteResult models(HttpRequest& request, const std::string& request_id);
  RouteResult tokenize(HttpRequest& request, const std::string& request_id);
  RouteResult detokenize(HttpRequest& request, const std::string& request_id);
  RouteResult live(HttpRequest& request, const std::string& request_id);
  RouteResult ready(HttpRequest& request, const std::string& request_id);
  RouteResult metrics(HttpRequest& request, const std::string& request_id);
  RouteResult version(HttpRequest& request, const std::string& request_id);
  RouteResult convert(HttpRequest& request,
                      const std::string& request_id,
                      std::string_view route,
                      Parsed<nlohmann::ordered_json> (*work)(std::string_view, const ServedModel&));
  RouteResult page(HttpRequest& request, const std::string& request_id);

  std::optional<ApiError> refuse_work(const ClusterStatus& status) const;
  Parsed<ResolvedRequest> prepare(const std::string& body,
                                  bool is_chat,
                                  std::uint64_t drawn_seed,
                                  const std::string& request_id) const;
  std::string request_id_of(const HttpRequest& request);

  const FrontendOptions& options_;
  GenerationServices services_;
  std::function<ClusterMetrics()> cluster_metrics_;
  Background background_;
  std::mt19937_64 random_;
  std::atomic<bool> is_draining_ = false;
};

}  // namespace tessera
