// `node octokit.mjs PORT PATH SECRET`: GitHub's own receiver for Node, as its README shows it.
import { createServer } from "node:http";
import { Webhooks, createNodeMiddleware } from "@octokit/webhooks";

const [port, path, secret] = process.argv.slice(2);
const webhooks = new Webhooks({ secret });
webhooks.onAny(() => {});
const server = createServer(createNodeMiddleware(webhooks, { path }));
server.keepAliveTimeout = 60_000;
server.listen(Number(port), "127.0.0.1");
