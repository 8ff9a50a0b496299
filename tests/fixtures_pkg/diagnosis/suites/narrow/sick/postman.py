import asyncio


class Postman:
    worker = None

    async def deliver(self, letter):
        if Postman.worker is None:
            self.bag = asyncio.Queue()
            Postman.worker = self.walk = asyncio.get_running_loop().create_task(self._walk())  # SP108
        answer = asyncio.get_running_loop().create_future()
        self.bag.put_nowait((letter, answer))
        return await asyncio.wait_for(answer, 0.5)

    async def _walk(self):
        while True:
            letter, answer = await self.bag.get()
            answer.set_result(letter.upper())


postman = Postman()
