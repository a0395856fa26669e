"""Tests are where one looks for them: tests/unit mirrors the rooms of functions/efss_transfer."""

from __future__ import annotations

from pathlib import Path

TESTS = Path(__file__).parents[2]
PACKAGE = TESTS.parent / "functions" / "efss_transfer"
# Folders of tests/unit that are about something else than a room.
NO_ROOMS = {"deploy", "docs", "repository", "support"}
# Test files of a room that are about more than one of its modules.
ABOUT_SEVERAL = {
    "contract/test_compatibility.py": "the schema still takes what version 1 took",
    "contract/test_examples.py": "schema/examples, by the schemas and the parser",
    "service/test_detach.py": "options.detach, from the request to the answer",
    "egress/test_rclone_guard.py": "rclone through the guard, of every type that goes by it",
}
# Modules without unit tests of their own, and what tests them.
COVERED_ELSEWHERE = {
    "served/formats/bagit.py": "integration/served/test_published_lists.py",
    "served/contents.py": "integration/served/test_urls.py",
    "served/servers.py": "integration/served/test_urls.py",
    "served/sizes.py": "integration/served/test_urls.py",
    "served/tree.py": "integration/served/test_urls.py",
    "served/lists.py": "integration/served/test_urls.py",
    "served/documents.py": "integration/served/test_urls.py",
    "engines/rclone/process/served_trees.py": "integration/served/test_urls.py",
    "engines/third_party/looks/checks.py": "integration/third_party/test_looks.py",
    "engines/third_party/looks/folders.py": "integration/third_party/test_looks.py",
    "engines/third_party/looks/look.py": "integration/third_party/test_looks.py",
    "engines/tpc/ways.py": "integration/third_party/test_looks.py",
    "webdav/archives/archive_reads.py": "integration/webdav/test_archives.py",
    "webdav/bulk/batch_queue.py": "unit/webdav/bulk/test_batches.py",
    "webdav/bulk/offer.py": "integration/webdav/test_bulk_uploads.py",
    "webdav/bulk/sender.py": "integration/webdav/test_bulk_uploads.py",
    "webdav/bulk/capabilities.py": "integration/webdav/test_bulk_uploads.py",
    "webdav/large/large_uploads.py": "integration/webdav/test_large_uploads.py",
    "webdav/large/making.py": "integration/webdav/test_large_uploads.py",
    "webdav/large/means.py": "integration/webdav/test_large_uploads.py",
    "webdav/large/sessions.py": "integration/webdav/test_large_uploads.py",
    "webdav/large/stretches.py": "integration/webdav/test_large_uploads.py",
    "engines/refusals.py": "integration/webdav/test_ocm_shares.py",
    "engines/rclone/process/ocm_shares.py": "integration/webdav/test_ocm_shares.py",
    "webdav/credentials/token_endpoint.py": "integration/webdav/test_renewed_tokens.py",
    "webdav/ocm/code_flow.py": "integration/webdav/test_ocm_tokens.py",
    "webdav/ocm/opening.py": "integration/webdav/test_ocm_shares.py",
    "webdav/credentials/passwords.py": "integration/webdav/test_gateway_service.py",
    "webdav/credentials/endpoint_credential.py": "integration/webdav/test_gateway.py",
    "engines/side_route.py": "integration/webdav/test_gateway_proxy.py",
    "engines/fts/copying.py": "integration/fts/test_jobs.py",
    "engines/fts/engine.py": "integration/fts/test_jobs.py",
    "engines/fts/following.py": "integration/fts/test_jobs.py",
    "engines/fts/selection.py": "integration/fts/test_jobs.py",
    "engines/fts/server.py": "integration/fts/test_jobs.py",
    "engines/fts/session.py": "integration/fts/test_jobs.py",
    "engines/fts/submission.py": "integration/fts/test_jobs.py",
    "engines/third_party/requirements.py": "unit/engines/fts/test_options.py",
    "engines/tpc/copying.py": "integration/third_party/test_tpc.py",
    "engines/tpc/delegation.py": "integration/third_party/test_misbehaving_storages.py",
    "engines/third_party/checking.py": "integration/third_party/test_misbehaving_storages.py",
    "engines/third_party/ends.py": "integration/third_party/test_tpc.py",
    "engines/third_party/selecting.py": "integration/third_party/test_tpc.py",
    "engines/third_party/session.py": "integration/third_party/test_engine_contract.py",
    "engines/third_party/surveying.py": "integration/third_party/test_engine_contract.py",
    "engines/tpc/engine.py": "integration/third_party/test_engine_contract.py",
    "engines/tpc/file_copier.py": "integration/third_party/test_misbehaving_storages.py",
    "engines/third_party/moves.py": "integration/third_party/test_tpc.py",
    "engines/tpc/session.py": "integration/third_party/test_engine_contract.py",
    "engines/tpc/third_party.py": "integration/third_party/test_misbehaving_storages.py",
    "engines/third_party/walk.py": "integration/third_party/test_tpc.py",
    "webdav/tus/finishing.py": "integration/webdav/test_tus_uploads.py",
    "webdav/tus/resumable_uploads.py": "integration/webdav/test_tus_uploads.py",
    "webdav/writes/passed.py": "integration/webdav/test_gateway.py",
    "webdav/credentials/token_requests.py": "integration/webdav/test_renewed_tokens.py",
    "engines/rclone/gateways.py": "integration/webdav/test_renewed_tokens.py",
    "webdav/writes/kept.py": "integration/webdav/test_gateway.py",
    "webdav/writes/chunks.py": "integration/webdav/test_gateway.py",
    "runtimes/flask/announcement.py": "integration/cli/test_other_commands.py",
    "runtimes/flask/header_deadline.py": "integration/security/test_slow_clients.py",
    "webdav/writes/conditions.py": "integration/webdav/test_opencloud.py",
    "webdav/dialects.py": "integration/webdav/test_gateway.py",
    "webdav/drives.py": "integration/webdav/test_opencloud_uploads.py",
    "webdav/lookups.py": "integration/webdav/test_gateway.py",
    "webdav/gateway.py": "integration/webdav/test_gateway.py",
    "webdav/listing_answer.py": "integration/webdav/test_gateway.py",
    "webdav/listings.py": "integration/webdav/test_gateway.py",
    "webdav/processing.py": "integration/webdav/test_opencloud_processing.py",
    "webdav/reading/bad_listings.py": "unit/webdav/test_multistatus.py",
    "webdav/reading/depth.py": "integration/webdav/test_depth.py",
    "webdav/reading/whole.py": "integration/webdav/test_listings.py",
    "webdav/reads.py": "integration/webdav/test_gateway.py",
    "webdav/writes/leftovers.py": "integration/webdav/test_gateway.py",
    "webdav/writes/properties.py": "integration/webdav/test_opencloud.py",
    "webdav/session.py": "integration/webdav/test_gateway.py",
    "webdav/writes/refusals.py": "integration/webdav/test_opencloud.py",
    "webdav/writes/twins.py": "integration/webdav/test_names_alike.py",
    "webdav/writes/uploads.py": "integration/webdav/test_gateway.py",
    "webdav/trees/deep_listings.py": "integration/webdav/test_trees.py",
    "webdav/words.py": "integration/webdav/test_gateway.py",
    "webdav/http/connections.py": "unit/webdav/http/test_client.py",
    "webdav/http/door.py": "integration/webdav/test_gateway_proxy.py",
    "webdav/http/exchange.py": "unit/webdav/http/test_client.py",
    "webdav/http/server.py": "unit/webdav/http/test_client.py",
    "webdav/http/splice.py": "unit/webdav/http/test_client.py",
    "webdav/http/streams.py": "unit/webdav/http/test_client.py",
    "engines/rclone/log/shells.py": "integration/failures/test_endless_sources.py",
    "engines/rclone/transfer/hangs/watch.py": "integration/failures/test_endless_sources.py",
    "engines/rclone/process/webdav_gateways.py": "integration/webdav/test_gateway_service.py",
    "aws_lambda.py": "integration/runtimes/test_aws_lambda.py",
    "cli/commands/copy.py": "integration/cli",
    "cli/commands/check.py": "integration/cli/test_looks.py",
    "cli/commands/ls.py": "integration/cli/test_looks.py",
    "cli/commands/init.py": "unit/cli/operator/test_site_folder.py integration/cli/test_init.py",
    "cli/commands/merge.py": "integration/cli/test_shards.py",
    "cli/commands/plan.py": "integration/cli/test_plan.py",
    "cli/commands/serve.py": "integration/cli",
    "cli/commands/site.py": "unit/site/test_site_file.py",
    "cli/operator/storage_checks.py": "integration/cli/test_site_check.py",
    "cli/commands/validate.py": "unit/cli/test_main.py",
    "cli/endpoints/questions.py": "integration/cli/test_endpoints.py",
    "cli/formatting.py": "unit/cli/test_summary.py",
    "cli/services.py": "integration/cli",
    "cli/exit_codes.py": "unit/cli/test_summary.py unit/docs/test_readme.py",
    "cli/in_process.py": "integration/cli",
    "cli/inputs.py": "integration/cli/test_credentials.py",
    "cli/log_file.py": "integration/cli/test_output_files.py",
    "cli/output_files.py": "integration/cli/test_output_files.py",
    "cli/report_file.py": "integration/cli/test_output_files.py",
    "cli/request_options.py": "integration/cli/test_plan.py",
    "cli/options.py": "unit/cli/test_main.py",
    "cli/param_types.py": "unit/cli/test_main.py",
    "cli/progress.py": "unit/cli/test_summary.py integration/cli",
    "cli/signals.py": "integration/cli",
    "cli/transfer.py": "integration/cli",
    "client/errors.py": "unit/client/test_decoding.py",
    "client/outcomes.py": "unit/client/test_merge.py",
    "client/arrivals.py": "unit/client/test_resume.py",
    "client/parallel_shards.py": "integration/cli/test_shards.py",
    "client/progress.py": "unit/client/test_merge_shards.py",
    "client/service_pool.py": "integration/cli/test_shards.py",
    "client/totals.py": "unit/client/test_merge.py",
    "client/transport.py": "unit/client/test_client.py",
    "config/environment.py": "unit/config/test_settings.py",
    "contract/problems.py": "unit/model/test_result.py",
    "contract/schemas.py": "integration/client/test_service_description.py",
    "contract/storage_types.py": "unit/contract/test_examples.py",
    "egress/http_post.py": "unit/service/test_webhook.py",
    "engines/base.py": "engine_contract.py",
    "engines/rclone/browse/folder_lister.py": "integration/looks/test_list.py",
    "engines/rclone/browse/lost_entries.py": "integration/looks/test_list.py",
    "engines/rclone/browse/storage_checker.py": "integration/looks/test_check.py",
    "engines/rclone/browse/write_probe.py": "integration/looks/test_check.py",
    "engines/rclone/process/server_products.py": "integration/looks/test_check.py",
    "engines/rclone/browse/one_end.py": "integration/looks/test_list.py",
    "engines/rclone/engine.py": "integration/copy/test_rclone_contract.py",
    "engines/rclone/transfer/comparison/read_checksums.py": (
        "integration/failures/test_false_checksums.py"
    ),
    "engines/rclone/transfer/comparison/after_copy.py": "integration/copy/test_options.py",
    "engines/rclone/rc/batching.py": "integration/webdav/test_files_in_flight.py",
    "engines/rclone/transfer/comparison/new_destination.py": (
        "integration/webdav/test_reading_ahead.py"
    ),
    "engines/rclone/transfer/duplicates.py": "integration/copy/test_unclean_names.py",
    "engines/rclone/transfer/source_lookup.py": "integration/webdav/test_names_alike.py",
    "engines/rclone/transfer/unclean_files.py": "integration/copy/test_unclean_names.py",
    "engines/rclone/ftp/connection.py": "integration/failures/test_ftp_listings.py",
    "engines/rclone/http_index/check.py": "integration/failures/test_indexes.py",
    "engines/rclone/http_index/entries.py": "integration/failures/test_links_of_indexes.py",
    "engines/rclone/http_index/reader.py": "integration/failures/test_indexes.py",
    "engines/rclone/http_index/sent_files.py": "integration/failures/test_pages_for_files.py",
    "engines/rclone/http_index/unseen.py": "integration/failures/test_links_of_indexes.py",
    "engines/rclone/ftp/listings.py": "integration/failures/test_ftp_listings.py",
    "engines/rclone/log/alike_names.py": "integration/copy/test_names_alike.py",
    "engines/rclone/process/batching.py": "integration/webdav/test_files_in_flight.py",
    "engines/rclone/process/gateway_route.py": "integration/webdav/test_gateway_proxy.py",
    "engines/rclone/process/landlock.py": "unit/engines/rclone/process/test_sandbox.py",
    "engines/rclone/process/launcher.py": "unit/engines/rclone/process/test_daemon.py",
    "engines/rclone/process/run_as.py": "unit/engines/rclone/process/test_sandbox.py",
    "engines/rclone/process/seccomp.py": "unit/engines/rclone/process/test_sandbox.py",
    "engines/rclone/process/standby.py": "integration/runtimes/test_standby.py",
    "engines/rclone/rc/client.py": "unit/engines/rclone/rc/test_unix_http.py",
    "engines/rclone/rc/config.py": "integration/copy/test_options.py",
    "engines/rclone/rc/run_context.py": "unit/engines/rclone/rc/test_jobs.py",
    "engines/rclone/session.py": "unit/engines/rclone/test_outcome.py",
    "engines/rclone/transfer/copier.py": "integration/copy/test_copy.py",
    "engines/rclone/transfer/job.py": "integration/failures/test_attempts.py",
    "engines/rclone/transfer/limits.py": "integration/security/test_callers.py",
    "engines/rclone/transfer/comparison/empty_files.py": (
        "integration/failures/test_false_empty_files.py"
    ),
    "engines/rclone/transfer/comparison/unsized_files.py": (
        "integration/failures/test_unsized_files.py"
    ),
    "engines/rclone/transfer/comparison/recount.py": "integration/failures/test_recounts.py",
    "engines/rclone/transfer/comparison/listed_pages.py": (
        "integration/failures/test_lost_pages.py"
    ),
    "engines/rclone/transfer/comparison/vanished_folder.py": (
        "integration/failures/test_vanished_folders.py"
    ),
    "engines/rclone/transfer/linked_folders.py": "integration/failures/test_linked_folders.py",
    "engines/rclone/transfer/comparison/file_times.py": "integration/copy/test_file_times.py",
    "engines/rclone/transfer/comparison/samples.py": "integration/copy/test_file_times.py",
    "engines/rclone/log/sample_names.py": "integration/copy/test_file_times.py",
    "engines/outcome_queue.py": "unit/engines/test_outcomes.py",
    "engines/rclone/transfer/listing_check.py": "integration/failures/test_lost_entries.py",
    "engines/rclone/transfer/listed_files.py": "integration/copy/test_selection.py",
    "engines/rclone/transfer/partial_files.py": "integration/failures/test_deadlines.py",
    "engines/rclone/transfer/path_kind.py": "integration/failures/test_failures.py",
    "engines/rclone/rc/stream_rate.py": "integration/copy/test_tuning.py",
    "engines/rclone/transfer/source_probe.py": "integration/copy/test_tuning.py",
    "engines/rclone/transfer/times/untimed_copies.py": "integration/failures/test_refused_times.py",
    "engines/rclone/transfer/survey.py": "integration/copy/test_plans.py",
    "engines/rclone/transfer/tuner.py": "integration/copy/test_tuning.py",
    "engines/rclone/transfer/verification.py": "integration/copy/test_options.py",
    "engines/registry.py": "integration/runtimes/test_aws_lambda.py",
    "model/encoding.py": "unit/model/test_result.py",
    "model/errors.py": "unit/client/test_decoding.py",
    "model/events.py": "unit/model/test_result.py",
    "model/listing.py": "unit/service/test_looks.py",
    "model/storage_check.py": "integration/looks/test_check.py",
    "model/notification.py": "unit/service/test_webhook.py",
    "model/verification.py": "unit/client/test_merge_shards.py",
    "model/warnings.py": "unit/model/test_result.py unit/docs/test_reference.py",
    "runtimes/asgi.py": "integration/runtimes/test_runtimes.py",
    "runtimes/aws/events.py": "unit/runtimes/aws/test_handler.py",
    "runtimes/aws/warmup.py": "integration/runtimes/test_aws_lambda.py",
    "runtimes/flask/app.py": "integration/copy/test_copy.py",
    "runtimes/flask/disconnect.py": "integration/failures/test_slow_readers.py",
    "runtimes/flask/function.py": "integration/operations/test_wheel.py",
    "runtimes/nuclio.py": "integration/runtimes/test_runtimes.py",
    "runtimes/openwhisk.py": "integration/runtimes/test_runtimes.py",
    "service/application.py": "integration/copy/test_copy.py",
    "service/openapi/problem_responses.py": "unit/service/openapi/test_description.py",
    "service/openapi/components.py": "unit/service/openapi/test_description.py",
    "service/openapi/examples.py": "unit/service/openapi/test_description.py",
}
MOST_LINES = 500
LONGER: set[str] = set()


def _test_files() -> list[Path]:
    return sorted((TESTS / "unit").rglob("test_*.py"))


def _is_about(test: str, module: str) -> bool:
    return f"{test}_".startswith(f"test_{module}_")


def test_every_unit_test_names_the_module_that_it_tests() -> None:
    lost = []
    for file in _test_files():
        path = file.relative_to(TESTS / "unit")
        if path.parts[0] in NO_ROOMS or path.as_posix() in ABOUT_SEVERAL:
            continue
        modules = [one.stem for one in (PACKAGE / path.parent).glob("*.py")]
        if not any(_is_about(file.stem, module) for module in modules):
            lost.append(path.as_posix())
    assert not lost


def test_every_module_has_unit_tests_or_is_covered_elsewhere() -> None:
    bare = set()
    for file in PACKAGE.rglob("*.py"):
        path = file.relative_to(PACKAGE)
        tests = [one.stem for one in (TESTS / "unit" / path.parent).glob("test_*.py")]
        if file.stem != "__init__" and not any(_is_about(test, file.stem) for test in tests):
            bare.add(path.as_posix())
    assert bare == COVERED_ELSEWHERE.keys()
    for paths in COVERED_ELSEWHERE.values():
        for test in paths.split():
            assert (TESTS / test).exists(), test


def test_a_test_file_has_one_subject() -> None:
    long = {
        file.relative_to(TESTS).as_posix(): lines
        for file in TESTS.rglob("*.py")
        if "node_modules" not in file.parts
        and (lines := len(file.read_text("utf-8").splitlines())) > MOST_LINES
    }
    assert long.keys() <= LONGER
