// Runs a workflow on a cluster: node workflow.mjs ws://127.0.0.1:PORT "3,4,5"
// A cluster that asks for a token takes it from MPREG_TOKEN.
import { randomUUID } from "node:crypto";
import WebSocket from "ws";

const [url, text] = process.argv.slice(2);
const token = process.env.MPREG_TOKEN;
const socket = new WebSocket(url, token ? { headers: { Authorization: `Bearer ${token}` } } : {});
const waiting = new Map();

function run(cmds) {
  const u = randomUUID();
  socket.send(JSON.stringify({ role: "rpc", cmds, u }));
  return new Promise((resolve, reject) => waiting.set(u, { resolve, reject }));
}

socket.on("message", (frame) => {
  const { r, error, u } = JSON.parse(frame);
  const { resolve, reject } = waiting.get(u);
  waiting.delete(u);
  if (error) reject(new Error(error.details ?? error.message));
  else resolve(r);
});

socket.on("open", async () => {
  const results = await run([
    { name: "numbers", fun: "parse", args: [text], locs: ["csv-parser"] },
    { name: "report", fun: "aggregate", args: ["numbers"], kwargs: { title: "Sum" }, locs: ["aggregator"] },
  ]).finally(() => socket.close());
  console.log(JSON.stringify(results));
});
